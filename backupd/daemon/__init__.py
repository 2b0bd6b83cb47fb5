"""The daemon: runs the policy's jobs by their schedules, for months, and survives what happens.

    loop       reload, stop, the scheduler's turns, the watchdog        the main thread
    signals    become acts of the loop            clock      was it set back?
    in_force   the policy, and what becomes of it at a reload
    ledger     what was missed, skipped, interrupted, and how runs ended
    scheduler  APScheduler with our own trigger: what is due now
    runs       one thread for each run; no job beside itself; timeouts
    recovery   what the last daemon left; waiting for engine and store at boot
    generation one policy as it was read, with its engine and store
    heartbeat  status.json in the store      statefile  daemon.json in the state directory
    listeners  metrics, notifications, pings: told of everything, never waited for

Arrows go from `loop` downwards. What a run does is `backupd.verbs`' business, the same as by hand.
"""
