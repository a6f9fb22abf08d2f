"""Simulates a run on the workers of a cluster that nobody here has, from costs that were measured.

Tasks go one after the other to the workers that ask first. The scheduler serves one message after the other, and so
does the client, which has no more than a window of tasks at the scheduler, as `Remote.ask` does. A worker that dies
loses the task that it had; the task goes to another, and the worker starts again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from circuitflow.rows.remote import EACH, LEAST


@dataclass(frozen=True)
class Cluster:
    """What tasks run on. Times are in seconds.

    Attributes:
        workers: how many there are, each with one thread.
        scheduler: the time of the scheduler for a task.
        client: the time of the client for a task.
        question: the time in which one worker sends another the question.
        deaths: how many workers die in an hour, of each worker that computes.
        restart: how long a worker takes to start again.
    """

    workers: int
    scheduler: float
    client: float
    question: float = 0.0
    deaths: float = 0.0
    restart: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """What a run took.

    Attributes:
        seconds: from the first task to the last answer.
        work: the seconds that workers computed for answers.
        lost: the seconds that workers computed for tasks that died with them.
        waited: the seconds that workers waited for the scheduler or the client while there were tasks.
        tasks: how many there were.
    """

    seconds: float
    work: float
    lost: float
    waited: float
    tasks: int


def simulate(tasks: int, seconds: Callable[[random.Random], float], cluster: Cluster) -> Outcome:
    """Run tasks.

    Args:
        tasks: how many there are, one or more.
        seconds: draws how long one takes on a worker, more than 0.
        cluster: what they run on.
    """
    draw = random.Random(0)
    refill = max(LEAST, EACH * cluster.workers) // 2
    # What happens: when, to which worker (-1: none), the task that it has done (0: none), the task that it has lost.
    # One worker has the question, then two, then four.
    events = [(cluster.question * math.ceil(math.log2(i + 1)), i, 0.0, 0.0) for i in range(1, cluster.workers + 1)]
    consumed: list[float] = []
    idle: list[int] = []
    returned: list[float] = []
    scheduler = client = work = lost = waited = 0.0
    begun = 0
    while len(consumed) < tasks:
        now, worker, task, failed = heappop(events)
        if failed:
            returned.append(failed)
            if idle:
                heappush(events, (now, idle.pop(), 0.0, 0.0))
            continue
        scheduler = max(scheduler, now)
        if task:
            scheduler += cluster.scheduler / 2
            client = max(client, scheduler) + cluster.client
            consumed.append(client)
            work += task
        if not returned and begun == tasks:
            idle.append(worker)
            continue
        if returned:
            task = returned.pop()
        else:
            task, begun = seconds(draw), begun + 1
            if begun > refill:
                scheduler = max(scheduler, consumed[begun - refill - 1])
        scheduler += cluster.scheduler / 2
        waited += scheduler - now
        death = draw.expovariate(cluster.deaths / 3600) if cluster.deaths else math.inf
        if death < task:
            lost += death
            heappush(events, (scheduler + death, -1, 0.0, task))
            heappush(events, (scheduler + death + cluster.restart, worker, 0.0, 0.0))
        else:
            heappush(events, (scheduler + task, worker, task, 0.0))
    return Outcome(client, work, lost, waited, tasks)
