"""Building a force field from Python: check the configuration, list the stages, do them.

python examples/5_build_a_force_field.py            # says what is to be done
python examples/5_build_a_force_field.py --build    # does it, in this process
"""

import sys
from pathlib import Path

from tlpot.building import build_config, make_build_plan, run_stages, stage_statuses, stage_table
from tlpot.config import read_yaml

settings = read_yaml(Path(__file__).with_suffix(".yaml"))
build_plan = make_build_plan(build_config(settings))
print(stage_table(stage_statuses(build_plan.stages, build_plan.config.output)))
if "--build" in sys.argv:
    records = run_stages(build_plan.stages, build_plan.config.output)
    print(records["assemble"].facts["snippet"])
