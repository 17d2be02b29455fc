#!/bin/sh
# One mock server, and a worker for each file of tests.
exec presencectl mock exec -- sh -c '
  for file in test_*.py; do
    python -m pytest -q "$file" &
    workers="$workers $!"
  done
  for worker in $workers; do
    wait "$worker" || failed=1
  done
  exit ${failed:-0}
'
