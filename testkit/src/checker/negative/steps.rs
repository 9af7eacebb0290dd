//! Defects of owners: their steps are changed, and the history follows from that.

use super::defects::Defect;
use super::run::{Part, Random, Step};

/// Steps with the defect; `None` if it is not one of steps, `Some(None)` if these have no place for it.
pub(super) fn plant(defect: Defect, part: &Part, random: &mut Random) -> Option<Option<Vec<Step>>> {
    let planting = Planting { part, random };
    Some(match defect {
        Defect::Drop => planting.drop_one(),
        Defect::ApplyTwice => planting.repeat(1),
        Defect::ReplayWithoutOwnership => planting.repeat(4),
        Defect::Swap => planting.swap(),
        Defect::ResurrectInTable => planting.apply_stale(true),
        Defect::StaleBase => planting.apply_stale(false),
        Defect::RestartPastCommit => planting.restart_past_commit(),
        Defect::ResetToStart => planting.reset_to_start(),
        Defect::CommitEarly => planting.commit_early(),
        Defect::LateWriter => planting.write_late(),
        _ => return None,
    })
}

struct Planting<'a> {
    part: &'a Part,
    random: &'a mut Random,
}

impl Planting<'_> {
    fn key(&self, index: usize) -> &[u8] {
        &self.part.inputs[index].0
    }

    fn deletes(&self, index: usize) -> bool {
        self.part.inputs[index].1.starts_with(b"-")
    }

    /// How often the input is applied.
    fn times(&self, index: usize) -> usize {
        self.part
            .steps
            .iter()
            .filter(|step| **step == Step::Apply(index))
            .count()
    }

    /// The last commit before the step at `place`.
    fn committed(&self, place: usize) -> usize {
        let mut before = self.part.steps[..place].iter().rev();
        let commit = before.find_map(|step| match step {
            Step::Commit(index) => Some(*index),
            _ => None,
        });
        commit.unwrap_or(0)
    }

    /// The nearest application before the step at `place`, by the same owner.
    fn applied_before(&self, place: usize) -> Option<usize> {
        let before = self.part.steps[..place].iter().rev();
        applied(before)
    }

    /// The nearest application after the step at `place`, by the same owner.
    fn applied_after(&self, place: usize) -> Option<usize> {
        applied(self.part.steps[place + 1..].iter())
    }

    /// One of the places of applications, with the input's index, that `fits`.
    fn pick_application(&mut self, fits: impl Fn(&Self, usize, usize) -> bool) -> Option<(usize, usize)> {
        let steps = self.part.steps.iter().enumerate();
        let places = steps.filter_map(|(place, step)| match step {
            Step::Apply(index) => Some((place, *index)),
            _ => None,
        });
        let places: Vec<_> = places.filter(|(place, index)| fits(self, *place, *index)).collect();
        self.random.pick(&places)
    }

    /// One of the places where an owner ends without warning, that `fits`.
    fn pick_crash(&mut self, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let places = (0..self.part.steps.len()).filter(|place| self.part.steps[*place] == Step::Crash);
        let places: Vec<_> = places.filter(|place| fits(self, *place)).collect();
        self.random.pick(&places)
    }

    fn drop_one(mut self) -> Option<Vec<Step>> {
        let (place, _) = self.pick_application(|this, place, index| {
            this.times(index) == 1
                && this.applied_before(place).is_some()
                && this.applied_after(place) == Some(index + 1)
        })?;
        let mut steps = self.part.steps.clone();
        steps.remove(place);
        Some(steps)
    }

    /// The last `length` applications again, at once.
    fn repeat(mut self, length: usize) -> Option<Vec<Step>> {
        let (place, index) = self.pick_application(|this, place, index| {
            let Some(first) = (index + 1).checked_sub(length).filter(|first| *first > 0) else {
                return false;
            };
            let run = (place + 1)
                .checked_sub(length)
                .map_or(&[][..], |from| &this.part.steps[from..=place]);
            let expected: Vec<_> = (first..=index).map(Step::Apply).collect();
            run == expected && this.committed(place) != first && !this.deletes(first)
        })?;
        let mut steps = self.part.steps.clone();
        let again = (index + 1 - length..=index).map(Step::Apply);
        steps.splice(place + 1..place + 1, again);
        Some(steps)
    }

    /// Two of one key, with nothing but applications between them.
    fn swap(mut self) -> Option<Vec<Step>> {
        let second = |this: &Self, place: usize, index: usize| {
            let run = this.part.steps[place + 1..]
                .iter()
                .take_while(|step| matches!(step, Step::Apply(_)));
            let last = index + run.count();
            (index + 1..=last).find(|other| this.key(*other) == this.key(index))
        };
        let (place, index) = self.pick_application(|this, place, index| {
            let Some(other) = second(this, place, index) else {
                return false;
            };
            (index..=other).all(|between| this.times(between) == 1 && !this.deletes(between))
        })?;
        let other = second(&self, place, index)?;
        let mut steps = self.part.steps.clone();
        steps.swap(place, place + other - index);
        Some(steps)
    }

    /// One that is applied on top of the row before the row that it follows.
    fn apply_stale(mut self, resurrect: bool) -> Option<Vec<Step>> {
        let (place, index) = self.pick_application(|this, place, index| {
            let before = this.part.steps[..place].iter().rev().filter_map(|step| match step {
                Step::Apply(other) if this.key(*other) == this.key(index) => Some(this.deletes(*other)),
                _ => None,
            });
            let before: Vec<_> = before.take(2).collect();
            !this.deletes(index) && before == [resurrect, false]
        })?;
        let mut steps = self.part.steps.clone();
        steps[place] = Step::ApplyStale(index);
        Some(steps)
    }

    fn restart_past_commit(mut self) -> Option<Vec<Step>> {
        let place = self.pick_crash(|this, place| {
            let (committed, applied) = (this.committed(place), this.applied_before(place));
            applied.is_some_and(|applied| committed < applied && !this.deletes(committed + 1))
                && this.part.steps[place + 1] == Step::Apply(committed)
                && this.part.steps.get(place + 2) == Some(&Step::Apply(committed + 1))
        })?;
        let mut steps = self.part.steps.clone();
        steps.remove(place + 1);
        Some(steps)
    }

    fn reset_to_start(mut self) -> Option<Vec<Step>> {
        let place = self.pick_crash(|this, place| this.committed(place) > 0 && !this.deletes(0))?;
        let mut steps = self.part.steps.clone();
        let again = (0..self.committed(place)).map(Step::Apply);
        steps.splice(place + 1..place + 1, again);
        Some(steps)
    }

    fn commit_early(mut self) -> Option<Vec<Step>> {
        let (place, _) = self.pick_application(|this, place, index| {
            let is_first = !this.part.steps[..place].contains(&Step::Apply(index));
            is_first && this.part.steps.get(place + 1) == Some(&Step::Commit(index + 1))
        })?;
        let mut steps = self.part.steps.clone();
        steps.swap(place, place + 1);
        Some(steps)
    }

    /// What a crashed owner had under way arrives after its successor's first record.
    fn write_late(mut self) -> Option<Vec<Step>> {
        let place = self.pick_crash(|this, place| {
            let committed = this.committed(place);
            this.applied_before(place)
                .is_some_and(|last| committed < last && last + 1 < this.part.inputs.len() && !this.deletes(last + 1))
                && this.part.steps[place + 1] == Step::Apply(committed)
        })?;
        let last = self.applied_before(place)?;
        let mut steps = self.part.steps.clone();
        steps.insert(place + 2, Step::ApplyLate(last + 1));
        Some(steps)
    }
}

/// The first application among `steps`, if it comes before the owner changes.
fn applied<'a>(steps: impl Iterator<Item = &'a Step>) -> Option<usize> {
    let mut steps = steps.take_while(|step| !matches!(step, Step::Crash | Step::HandOver));
    steps.find_map(|step| match step {
        Step::Apply(index) => Some(*index),
        _ => None,
    })
}
