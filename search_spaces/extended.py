# The coefficients of eq. 10 and the extensions: replay, number of fakes, rounds, form of L_pri, steps, rate.
from ray import tune

DEFENSE = "gan_id"
SPACE = {
    "alpha": tune.loguniform(0.3, 10.0),  # weight of L_pri: from hardly any push away from l_t to far past it
    "beta": tune.loguniform(0.1, 10.0),  # weight of L_pub beside alpha; a prototype at 1 kept MC(l_t)
    "omega": 1.0,  # fixed: eq. 9 and 10 hold omega and lambda3 as a product only
    "gamma": tune.uniform(0.5, 5.0),  # focal exponent; the paper: 2. Below 0.5 it is all but cross-entropy
    "lambda3": tune.loguniform(0.3, 3000.0),  # the product omega * lambda3
    "lpri": tune.choice(["detached", "unlikelihood", "ce"]),  # `literal` pulls p up below e^(-1/gamma): left out
    "replay": tune.loguniform(0.1, 5.0),  # real private batches; at 1 a prototype kept MC(all), but leaked a little
    "fakes.count": tune.choice([20, 40, 80]),  # a few values, since each makes fakes anew; a prototype had only 16
    "rounds": tune.choice([1, 2]),  # invert the defended model and go again; each round costs as much as the first
    "steps": tune.choice([60, 100, 200]),  # budget quick: 100; around it, so that more steps at a smaller rate are met
    "lr": tune.loguniform(5e-4, 1e-2),  # first rate of SGD; the stage's 1e-3 and the demo's 3e-3 lie inside
}
