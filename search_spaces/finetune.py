# The five coefficients of eq. 10: alpha, beta, omega, gamma, lambda3.
from ray import tune

DEFENSE = "gan_id"
SPACE = {
    "alpha": tune.loguniform(0.3, 10.0),  # weight of L_pri: from hardly any push away from l_t to far past it
    "beta": tune.loguniform(0.1, 10.0),  # weight of L_pub beside alpha; a prototype at 1 kept MC(l_t)
    "omega": tune.loguniform(0.1, 10.0),  # weight of L_CL; only omega * lambda3 counts, two decades of it here
    "gamma": tune.uniform(0.5, 5.0),  # focal exponent; the paper: 2. Below 0.5 it is all but cross-entropy
    "lambda3": tune.loguniform(1.0, 1000.0),  # stiffness of EWC on a Fisher of mean 1; the demo: 150
}
