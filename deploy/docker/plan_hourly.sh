#!/bin/sh
# Forecasts and plans every hour from the newest data; a round that fails is logged, and the next one tries again.
# A signal ends the script that runs, and this one, at once. /tmp/round is as old as the last round that succeeded.
child=
trap '[ -z "$child" ] || kill "$child" 2>/dev/null; exit 0' TERM INT
run() {
    "$@" &
    child=$!
    wait "$child"
}
while :; do
    # a source that is not current ends the first with 1, after all forecasts are saved: the plan is made all the same
    run python forecast_and_save.py
    if run python optimization.py; then touch /tmp/round; fi
    run sleep 3600
done
