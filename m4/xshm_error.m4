# XSHM_ERROR(SENTENCE)
# --------------------
# Stop configure with one line, however the sentence is broken in the source.
AC_DEFUN([XSHM_ERROR], [AC_MSG_ERROR(m4_normalize([$1]))])
