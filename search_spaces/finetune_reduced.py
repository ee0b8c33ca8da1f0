# The identifiable coefficients of eq. 10: omega is 1, since only the product omega * lambda3 counts.
from ray import tune

DEFENSE = "gan_id"
SPACE = {
    "alpha": tune.loguniform(0.3, 10.0),  # weight of L_pri: from hardly any push away from l_t to far past it
    "beta": tune.loguniform(0.1, 10.0),  # weight of L_pub beside alpha; a prototype at 1 kept MC(l_t)
    "omega": 1.0,  # fixed: eq. 9 and 10 hold omega and lambda3 as a product only
    "gamma": tune.uniform(0.5, 5.0),  # focal exponent; the paper: 2. Below 0.5 it is all but cross-entropy
    "lambda3": tune.loguniform(0.3, 3000.0),  # the product itself, over the range that both span in `finetune`
}
