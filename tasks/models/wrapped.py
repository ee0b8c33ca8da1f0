"""A model behind an output wrapper: the victim's weights as they are, other confidences for who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tasks.context import Context
from tasks.data.split import Split
from tasks.lazy import lazy
from tasks.models.classifier import Classifier, GivenClassifier, Model
from tasks.stage import Group, Metrics

if TYPE_CHECKING:
    import torch

    from tasks.data.stored_images import StoredImages
    from tasks.models import wrapped_record
    from tasks.models.wrapped_network import WrappedNetwork
else:
    wrapped_record = lazy("tasks.models.wrapped_record")

Gradient = Literal["straight_through", "bpda", "stopped"]
STRAIGHT_THROUGH: Gradient = "straight_through"


class Wrapped(Model):
    """A model and what is done to its confidences; a target like any other.

    Nothing in the weights is protected: who has them takes the wrapper off. How a white-box attack that does not
    gets its gradients is a field, because an attack that fails for want of a gradient says nothing of privacy:

    - `straight_through`: forward through the wrapper, backward as though it were not there: the derivative of the
      output is that of the inner model's logits;
    - `bpda` (Athalye et al. 2018): backward through a differentiable approximation that each wrapper supplies and
      that has the wrapper's own value. Where the wrapper is differentiable it is the wrapper, and exact;
    - `stopped`: the derivative is 0. Whoever has the model can do better, so this is no defense; it shows what an
      attack finds without any.

    The record is of the defender's public images: how many keep their label and how far the answers move.
    """

    group: ClassVar[Group] = "classifier"

    model: Model
    gradient: Gradient = Field(STRAIGHT_THROUGH, description="how gradients pass the wrapper")

    @property
    def measured_on(self) -> Split:
        """The images that its record speaks of: the defender's own."""
        raise NotImplementedError

    def wrap(self, ctx: Context) -> WrappedNetwork:
        """The inner model's network and the wrapper around it, with their weights, on the device."""
        raise NotImplementedError

    def own_metrics(self, ctx: Context, images: StoredImages, clean: torch.Tensor, answers: torch.Tensor) -> Metrics:
        """What else this wrapper records of images (n, c, s, s) with confidences before and after, (n, classes)."""
        return {}

    def network_of(self) -> Classifier | GivenClassifier:
        return self.model.network_of()

    def network(self, ctx: Context) -> WrappedNetwork:
        """For a dependant: images -> log of the wrapped confidences; in eval mode, frozen."""
        return self.wrap(ctx).eval().requires_grad_(False)

    def run(self, ctx: Context) -> Metrics:
        return wrapped_record.record(self, ctx)
