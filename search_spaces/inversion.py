# How the fakes are made: lambda, steps and rate of the latent search of eq. 6.
from ray import tune

DEFENSE = "gan_id"
SPACE = {
    "fakes.lam": tune.choice([10.0, 30.0, 100.0, 300.0]),  # lambda: realism against identity; GMI and KED-MI: 100
    "fakes.steps": tune.choice([20, 40, 80]),  # few: fakes that are not yet l_t; many: all run into one mode
    "fakes.lr": tune.choice([0.02, 0.05, 0.1]),  # Adam's step in units of the prior's standard deviation
}
