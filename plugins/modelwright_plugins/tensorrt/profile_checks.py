"""What profiles have to be for a model that is read and continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelwright.api.model import ModelSpec
from modelwright.errors import RecipeError
from modelwright_plugins.tensorrt.profile import prompts_and_tokens, require_known, with_total_length


def check_profiles(profiles: Sequence[Mapping[str, tuple[int, int, int]]], spec: ModelSpec) -> None:
    """Raise RecipeError for profiles that no input of the model fits, or that leave one out."""
    generates = spec.task == "generate"
    needed = ("batch", "length", "past") if generates else ("batch", "length")
    known = (*needed, "total") if generates else needed
    for number, profile in enumerate(profiles):
        require_known(profile, known, "parameter profiles")
        if lacking := [name for name in needed if name not in profile]:
            raise RecipeError(
                f"The profile {number} says no sizes of {', '.join(lacking)}.",
                where="parameter profiles",
                accepted=", ".join(f"{name}: [min, opt, max]" for name in needed),
            )
        if min(profile["batch"][0], profile["length"][0]) < 1:
            raise RecipeError(
                f"The profile {number} begins with no text or no token.",
                where="parameter profiles",
                accepted="batch and length from 1; only past may be 0",
            )
        past = profile["past"] if generates else (0, 0, 0)
        longest = max(past[0] + profile["length"][2], past[2] + profile["length"][0])
        if longest > spec.max_length:
            raise RecipeError(
                f"The profile {number} goes beyond the {spec.max_length:,} tokens that the model takes.",
                where="parameter profiles",
                accepted=f"a past and a length of {spec.max_length:,} at most together",
            )
        total = [before + new for before, new in zip(past, profile["length"], strict=True)]
        if "total" in profile and list(profile["total"]) != total:
            raise RecipeError(
                f"In the profile {number} total is not past and length together.",
                where="parameter profiles",
                accepted=f"total: {total}, or none: it follows",
            )
        if with_total_length(profile) in map(with_total_length, profiles[:number]):
            raise RecipeError(
                f"The profile {number} is there twice.",
                where="parameter profiles",
                accepted="each profile once",
            )
    if generates and profiles and not all(prompts_and_tokens(profiles)):
        raise RecipeError(
            "A model that generates needs a profile for prompts and one for the tokens after them.",
            where="parameter profiles",
            accepted="in one a past from 0, in one a length from 1 after a past",
            hint="leave profiles out, for prompts and tokens up to the model's context",
        )
