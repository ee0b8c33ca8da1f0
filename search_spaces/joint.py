# All protected labels in one model: the identifiable coefficients, replay, steps and rate.
from ray import tune

DEFENSE = "gan_id"
PROTECT = "joint"  # the spec must say so
SPACE = {
    "alpha": tune.loguniform(0.3, 10.0),  # losses are means over labels, so that it means what it means for one
    "beta": tune.loguniform(0.1, 10.0),  # weight of L_pub beside alpha
    "omega": 1.0,  # fixed: only omega * lambda3 counts
    "gamma": tune.uniform(0.5, 5.0),  # focal exponent; the paper: 2
    "lambda3": tune.loguniform(0.1, 1000.0),  # a prototype took 1 jointly, where one label had 10
    "replay": tune.loguniform(0.1, 5.0),  # without real batches 20 labels at once cost a prototype 10 points
    "steps": tune.choice([50, 100, 150]),  # each on every label, so that one costs as many times more; a prototype: 150
    "lr": tune.loguniform(5e-4, 1e-2),  # first rate of SGD; the stage's 1e-3 and the demo's 3e-3 lie inside
}
