"""The scripted backend's questions and answers: put together from short lists, plausible enough for every gate."""

from __future__ import annotations

import re
from random import Random

SUBJECTS = (
    "a vegetable garden", "the French Revolution", "binary search trees", "sourdough bread", "electric cars",
    "the human immune system", "a monthly household budget", "classical guitar", "photosynthesis", "job interviews",
    "the water cycle", "probability theory", "marathon training", "Japanese grammar", "relational databases",
    "black holes", "home insulation", "short stories", "public speaking", "coral reefs", "bicycle maintenance",
    "compound interest", "medieval castles", "the Python language", "indoor plants", "street photography",
    "plate tectonics", "time management", "wooden furniture", "the stock market", "linear regression", "city planning",
    "chess openings", "green tea", "honey bees", "renewable energy", "the Silk Road", "memory and sleep",
    "a rescue dog", "watercolour painting", "computer networks", "childhood nutrition", "sea navigation",
    "film editing", "mountain weather", "unit tests", "ancient Egypt", "volunteer work", "vaccines", "remote teams",
)  # fmt: skip
ASPECTS = (
    "the main causes", "the most common mistakes", "the first three steps", "the long term costs", "the key ideas",
    "the safest approach", "the hidden risks", "the history", "the best tools", "the underlying science",
    "the daily routine", "the effect on the environment", "the differences between experts and beginners",
    "the necessary preparation", "the strongest arguments", "the typical results", "the technical terms",
    "the role of practice", "the cheapest options", "the open questions",
)  # fmt: skip
READERS = (
    "a curious beginner", "my grandmother", "a class of twelve year olds", "a busy manager", "my younger brother",
    "a small local newspaper", "an engineer who changes fields", "a group of retired teachers", "a travelling musician",
    "someone with little time", "a first year student", "a sceptical friend", "a family with two children",
    "a nurse on night shifts", "an amateur historian", "a shop owner", "a volunteer fire brigade", "a book club",
    "a new colleague", "a neighbour who just moved here",
)  # fmt: skip
LIMITS = (
    "in plain words", "with one concrete example", "within two short paragraphs", "as a numbered list",
    "without any jargon", "with rough figures", "by means of an analogy", "from a historical angle",
    "with a small exercise at the end", "step by step", "with the pros and cons", "in a friendly tone",
    "as a short dialogue", "with sources to read next", "in under two hundred words", "as a checklist",
)  # fmt: skip
QUESTIONS = (
    "Can you explain {aspect} of {subject} to {reader} {limit}?",
    "What should {reader} know about {aspect} of {subject}? Please answer {limit}.",
    "Write about {aspect} of {subject} for {reader}, {limit}.",
    "I have to present {subject} to {reader} next week. How do I cover {aspect} {limit}?",
    "How would you compare {subject} and {other} for {reader}, looking at {aspect}, {limit}?",
    "Help me plan a lesson on {subject} for {reader}: describe {aspect} {limit}.",
    "Why does {reader} often misunderstand {aspect} of {subject}? Answer {limit}.",
    "Summarise {aspect} of {subject} {limit}, so that {reader} can use it at once.",
    "My notes on {subject} are a mess. Could you sort {aspect} {limit} for {reader}?",
    "Give me advice on {subject} {limit}. It is meant for {reader} and should focus on {aspect}.",
)
SENTENCES = (
    "Start with what {reader} already knows and connect it to {subject}.",
    "In most cases {aspect} can be traced back to a few simple decisions.",
    "People who work with {subject} every day keep a written record of what they tried.",
    "A useful comparison is {other}, where the same pattern appears on a smaller scale.",
    "It helps to separate {aspect} from the rest and to look at each part on its own.",
    "About {number} percent of the effort goes into preparation, and it pays off later.",
    "If something fails, change one thing at a time and write down the result.",
    "Books on {subject} often skip this point, although it decides about success.",
    "A good rule is to review the plan every {number} days and to drop what does not help.",
    "That is why {reader} should first ask for a short demonstration.",
    "For {subject} the order of the steps matters more than their speed.",
    "Later you can return to {other} and see how much of it carries over.",
    "Nobody masters {aspect} in a single afternoon, so plan for at least {number} sessions.",
    "When in doubt, choose the simpler option and test it under real conditions.",
    "Keep the explanation close to daily life, because abstract rules are forgotten quickly.",
    "Finally, share what you learned with {reader} and let them ask questions.",
)
OPENINGS = (
    "Here is a short way to think about {aspect} of {subject}.",
    "The answer depends on how much time {reader} can spend on {subject}.",
    "There are three things worth knowing about {subject}.",
    "Let us look at {aspect} first and turn to {other} afterwards.",
    "This is a common question, and {subject} is a good place to begin.",
)


def question(seed: int) -> str:
    """A user's question of 8 to 35 words; millions of different ones."""
    dice = Random(seed)  # noqa: S311 - nothing secret
    text = _fill(dice.choice(QUESTIONS), dice, dice.choice(SUBJECTS))
    return text[0].upper() + text[1:]


def answer(seed: int, prompt: str) -> str:
    """An answer of one to fourteen sentences about the subject that the last question names."""
    dice = Random(seed)  # noqa: S311 - nothing secret
    named = [(prompt.rfind(subject), subject) for subject in SUBJECTS]
    at, subject = max(named)
    if at < 0:
        subject = dice.choice(SUBJECTS)
    count = min(14, 1 + int(dice.expovariate(1 / 4)))
    chosen = [dice.choice(OPENINGS), *dice.sample(SENTENCES, count)]
    text = " ".join(_fill(sentence, dice, subject) for sentence in chosen)
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)


def _fill(pattern: str, dice: Random, subject: str) -> str:
    return pattern.format(
        subject=subject,
        other=dice.choice(SUBJECTS),
        aspect=dice.choice(ASPECTS),
        reader=dice.choice(READERS),
        limit=dice.choice(LIMITS),
        number=dice.randrange(3, 60),
    )
