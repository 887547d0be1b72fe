/* FASTPATH_DEBUG is 0 in the release build and 1 in the debug build (setup.py). */
#ifndef FASTPATH_DEBUG
#define FASTPATH_DEBUG 0
#endif
