"""`python -m checker FILE`: judge a history that was kept. Exit code 0 only if every promise was kept."""

import sys
from pathlib import Path

from checker.history import load
from checker.report import judge

if __name__ == "__main__":
    verdict = judge(load(Path(sys.argv[1])))
    print(verdict.text())
    sys.exit(0 if verdict.passed else 1)
