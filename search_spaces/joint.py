# All protected labels in one model, a decoy of its own for each: the identifiable coefficients, replay, steps and rate.
from ray import tune

DEFENSE = "gan_id"
PROTECT = "joint"  # the spec must say so
SPACE = {
    "decoys": "synthetic",  # with fewer public people than labels, a person's fakes would have to be two labels
    "alpha": tune.loguniform(1.0, 20.0),  # losses are means over labels: each label's share of the step is so much less
    "beta": tune.loguniform(3.0, 30.0),  # decoys must get confident: at 1 the model only became unsure of everybody
    "omega": 1.0,  # fixed: only omega * lambda3 counts
    "gamma": tune.uniform(1.0, 3.0),  # focal exponent; the paper: 2
    "lambda3": tune.loguniform(0.03, 3.0),  # a twentieth of what one label takes: L_CL is no mean over labels
    "replay": tune.loguniform(1.0, 10.0),  # real images of 20 people hold what so long a way would cost
    "steps": tune.choice([200, 300]),  # each on every label
    "batch": 2,  # of each kind and label: 80 fakes a step with 20 labels
    "lr": tune.loguniform(3e-2, 1e-1),  # first rate of SGD; gradients are clipped to norm 1, which 20 labels share
}
