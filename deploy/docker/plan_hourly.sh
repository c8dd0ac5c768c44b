#!/bin/sh
# Forecasts and plans every hour from the newest data; a round that fails is logged, and the next one tries again.
trap 'exit 0' TERM INT
while :; do
    touch /tmp/round
    # a source that is not current ends the first with 1, after all forecasts are saved: the plan is made all the same
    python forecast_and_save.py; python optimization.py
    sleep 3600 &
    wait $!
done
