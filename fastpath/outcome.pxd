# The return type of functions that are called for their effect (floor 0). The generated C
# compares one integer: no reference to None is counted, no error indicator is asked.

cdef enum Outcome:
    FAIL = -1
    DONE = 0
