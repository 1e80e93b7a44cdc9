"""Many first opens of a new store at one moment: `python openers.py FOLDER ROUNDS PROCESSES`.

The openers are forked from a process that has imported everything, has no thread and no
connection, so they truly meet. Prints what went wrong, a line each.
"""

import multiprocessing
import sys
from pathlib import Path

from engines.study.location import Location
from engines.study.store import open_storage

context = multiprocessing.get_context("fork")


def open_one(path, barrier, answers):
    barrier.wait(60)
    try:
        storage = open_storage(Location(path))
        storage.get_all_studies()
        answers.put("")
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")


def main(folder, rounds, processes):
    for number in range(rounds):
        path = folder / f"{number}" / "new.db"
        barrier, answers = context.Barrier(processes), context.SimpleQueue()
        openers = [
            context.Process(target=open_one, args=(path, barrier, answers))
            for _ in range(processes)
        ]
        for opener in openers:
            opener.start()
        for opener in openers:
            opener.join(60)
        said = [answers.get() for opener in openers if opener.exitcode == 0]
        for problem in filter(None, said):
            print(f"round {number}: {problem}")
        for opener in openers:
            if opener.exitcode != 0:
                print(f"round {number}: exit code {opener.exitcode}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
