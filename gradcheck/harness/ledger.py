"""What was found so far: merged, and kept where a sweep that is killed finds it again."""

from __future__ import annotations

from gradcheck.errors import RequestError
from gradcheck.harness.block import Bench
from gradcheck.harness.checkpoint import Checkpoint, ForeignError, UnusableError
from gradcheck.harness.execution import Execution
from gradcheck.harness.facts import digest_of, facts_of
from gradcheck.harness.full import Parts
from gradcheck.harness.outcome import Outcome
from gradcheck.harness.stretch import Stretch


class Ledger:
    """The outcome of the stretches that are done.

    Attributes
    ----------
    outcome, done
        What was found, and on which stretches.
    """

    def __init__(self, bench: Bench, execution: Execution) -> None:
        self.outcome, self.done = Outcome(), frozenset[Stretch]()
        self._always, self._note = bench.always, execution.note
        self._checkpoint: Checkpoint | None = None
        self._parts: Parts | None = None
        if execution.checkpoint is None and execution.full is None:
            return
        facts = facts_of(bench, execution.model, execution.options)
        if execution.full is not None:
            facts["full"] = str(execution.full.resolve())
            self._parts = Parts(execution.full, digest_of(facts))
            bench.parts = self._parts.folder
            execution.afterwards.append(self._parts.remove)
        if execution.checkpoint is not None:
            self._checkpoint = Checkpoint(execution.checkpoint, facts)
            execution.afterwards.append(self._checkpoint.remove)
            self._resume(self._checkpoint, execution.resume)
        if self._parts is not None:
            self._parts.start(resumed=bool(self.done))

    def _resume(self, checkpoint: Checkpoint, wanted: bool) -> None:
        if not wanted:
            if checkpoint.path.exists():
                self._note("what an interrupted sweep had done is dropped; --resume would go on")
                checkpoint.remove()
            return
        try:
            outcome, done = checkpoint.read()
            if self._parts is not None and not all(map(self._parts.holds, done)):
                raise UnusableError(f"without its pieces of {self._parts.target}")
        except FileNotFoundError:
            self._note("there is nothing to resume; starting from the first sample")
        except ForeignError as error:
            raise RequestError(
                "resume", f"what is done is {error}; ask for that, or leave out --resume to drop it"
            ) from error
        except (UnusableError, OSError) as error:
            self._note(f"the checkpoint is {error}; starting from the first sample")
        else:
            self.outcome, self.done = outcome, done
            self._note(f"resuming: {len(done)} pieces of the sweep are done")

    def enter(self, stretch: Stretch, found: Outcome) -> None:
        """Add what was found on a stretch."""
        self.outcome = self.outcome.merge(found, self._always)
        self.done |= {stretch}
        if self._checkpoint is None:
            return
        try:
            self._checkpoint.write(self.outcome, self.done)
        except OSError as error:
            self._note(f"what is done cannot be kept for --resume ({error.strerror})")
            self._checkpoint = None

    def close(self, stretches: list[Stretch]) -> None:
        """Complete the file of all comparisons, if there is one."""
        if self._parts is not None:
            self._parts.join(stretches)
