# Builds UCX's gtest with the tests of transports only, against the UCX
# libraries that are installed: those are what xshm is loaded into, and not
# building them saves minutes. contrib/conformance calls it in the folder of
# the objects, with
#   UCX_TREE    unpacked UCX source (transport lists already extended)
#   UCX_CONFIG  folder in which UCX's configure was run
# Paths in both must be free of blanks: make cannot handle them in rules, so
# the caller passes relative names.

CXX      ?= g++
CC       ?= gcc

# No optimisation: the objects are compiled once and run for minutes, while the
# libraries under test are the installed ones. Warnings are UCX's business.
OPTIMIZE ?= -O0 -g0

GTEST    := $(UCX_TREE)/test/gtest

CPPFLAGS += -DHAVE_CONFIG_H -DCPU_FLAGS= \
            -DTOP_SRCDIR='"$(UCX_TREE)"' \
            -I$(UCX_CONFIG) -I$(UCX_CONFIG)/src \
            -I$(UCX_TREE)/src -I$(UCX_TREE)/test -I$(GTEST)
CFLAGS   += $(OPTIMIZE) -w
CXXFLAGS += -std=c++11 -fno-strict-aliasing $(OPTIMIZE) -w
# A crash prints the names of the functions
LDFLAGS  += -rdynamic
LDLIBS   += -l:libucp.so.0 -l:libuct.so.0 -l:libucs.so.0 -l:libucm.so.0 \
            -lpthread -ldl -lrt

# Left out: tests of libucs and libucm alone, which no transport can change.
FRAMEWORK := $(patsubst %,common/googletest/gtest%.cc, \
                        "" -death-test -filepath -port -printers -test-part \
                        -typed-test)
FRAMEWORK := $(subst "",,$(FRAMEWORK))
SOURCES   := $(addprefix $(GTEST)/,$(FRAMEWORK)) \
             $(addprefix $(GTEST)/common/,main.cc mem_buffer.cc \
                         test_helpers.cc test_perf.cc test.cc) \
             $(wildcard $(GTEST)/uct/*.cc $(GTEST)/uct/v2/*.cc) \
             $(wildcard $(GTEST)/ucp/*.cc)
PERFTEST  := $(addprefix $(UCX_TREE)/src/tools/perf/lib/, \
                         libperf.c libperf_memory.c libperf_thread.c \
                         uct_tests.cc ucp_tests.cc)

OBJECTS   := $(patsubst $(UCX_TREE)/%.cc,obj/%.o, \
                        $(patsubst %.c,%.cc,$(SOURCES) $(PERFTEST)))

gtest: $(OBJECTS)
	$(CXX) $(LDFLAGS) -o $@ $^ $(LDLIBS)

obj/%.o: $(UCX_TREE)/%.cc
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<

obj/%.o: $(UCX_TREE)/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
