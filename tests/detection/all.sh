#!/usr/bin/env bash
# The whole bench: twelve campuses of 24 rooms and 17 weeks in each profile, and one of 200 rooms and a year.
#
#   all.sh BELLWETHER PYTHON EFFECT        EFFECT: the agent's example of that name
set -uo pipefail
here=$(dirname "$0")
command="$(realpath "$1") --config {config} replay {samples}"
seeds=31,32,33,34,35,36,37,38,39,40,41,42
missed=0
for profile in base noisy dst sparse drifty; do
    echo "== $profile"
    # Beside it, where the design has figures of them: the reference engine, each room alone by the product and by the
    # reference, what boxes without a fault would book alone, and the peer rule.
    beside=()
    [[ $profile == base || $profile == noisy ]] && beside=(--beside reference,alone,unpeered,alone_reference,oracle,peer)
    "$2" "$here/drive.py" --seeds "$seeds" --profile "$profile" --bars "$here/bars.json" --cmd "$command" "${beside[@]}" ||
        missed=1
done
echo "== large"
"$2" "$here/drive.py" --seeds 50 --rooms 200 --days 364 --profile base --bar-set large_base --bars "$here/bars.json" \
    --cmd "$command" || missed=1
echo "== version"
"$2" "$here/version_bench.py" --bars "$here/bars.json" --cmd "$command" --effect "$(realpath "$3")" || missed=1
echo "== cost"
if command -v promtool >/dev/null; then
    "$2" "$here/promtool.py" --cmd "$command" || missed=1
else
    echo "promtool is not installed (package prometheus): not compared"
fi
exit $missed
