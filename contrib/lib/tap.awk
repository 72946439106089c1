# Judge the TAP output of one test part. Prints one line for each test:
#     pass<TAB>name
#     fail<TAB>name
#     skip<TAB>name<TAB>reason
# and a "fail" line for everything that makes the output as a whole unbelievable:
# no plan, another number of tests than planned, "Bail out!", or the exit status
# (-v status=N) of a part whose tests all passed.
#
# See file LICENSE for terms.

function verdict(kind, name, reason) {
    printf "%s\t%s", kind, name
    if (kind == "skip") {
        printf "\t%s", reason
    }
    printf "\n"
    failed += (kind == "fail")
}

function test_name(line) {
    sub(/^(not )?ok */, "", line)
    sub(/^[0-9]+ */, "", line)
    sub(/^- */, "", line)
    return line
}

/^(not )?ok( |$)/ {
    tests++
    name   = test_name($0)
    reason = ""
    skip   = match(toupper(name), /(^| )# *SKIP/)
    if (skip) {
        reason = substr(name, RSTART + RLENGTH)
        sub(/^[^ ]* */, "", reason)
        name = substr(name, 1, RSTART - 1)
    }
    sub(/ +$/, "", name)
    if (name == "") {
        name = "test " tests
    }
    # Only a test that passes can have been skipped
    verdict(/^not/ ? "fail" : skip ? "skip" : "pass", name, reason)
}

/^1\.\.[0-9]+/ {
    plans++
    planned += substr($1, 4)
    if (($1 == "1..0") && match(toupper($0), /# *SKIP[^ ]* */)) {
        verdict("skip", "all of it", substr($0, RSTART + RLENGTH))
    } else if ($1 == "1..0") {
        verdict("fail", "nothing to test: the plan is 1..0")
    }
}

/^Bail out!/ {
    bailed = 1
    verdict("fail", $0)
}

END {
    if (!bailed && !plans) {
        verdict("fail", "no plan: cut off after " tests + 0 " tests")
    } else if (!bailed && (tests + 0 != planned)) {
        verdict("fail", tests + 0 " tests were run, and " planned " planned")
    }
    if (status && !failed) {
        verdict("fail", "exit status " status ", though no test failed")
    }
}
