"""Building a force field from Python: check the configuration, list the stages, do them.

python examples/5_build_a_force_field.py            # says what is to be done
python examples/5_build_a_force_field.py --build    # does it, in this process
"""

import sys
from pathlib import Path

from tlpot.building import all_standings, build_config, make_blueprint, run_stages, stage_table
from tlpot.config import read_yaml

settings = read_yaml(Path(__file__).with_suffix(".yaml"))
blueprint = make_blueprint(build_config(settings))
print(stage_table(all_standings(blueprint.stages, blueprint.config.output)))
if "--build" in sys.argv:
    records = run_stages(blueprint.stages, blueprint.config.output)
    print(records["assemble"].facts["snippet"])
