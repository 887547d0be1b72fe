"""`python -m fastpath`: one worker, started by the supervisor."""

from fastpath.worker import main

main()
