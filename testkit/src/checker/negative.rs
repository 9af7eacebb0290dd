//! Proof that the checker sees: correct histories are generated and pass; each gets one defect, which must be found by its name.
//!
//! A history is made from a [`Run`], the steps that owners take. Most defects are planted into the steps, so that everything that
//! follows from them is as a broken processor would have left it; others into the finished history.

mod defects;
mod histories;
mod run;
mod steps;

use std::collections::BTreeSet;

use self::defects::Defect;
use self::run::{Random, Run};
use super::{Chain, Count, History, Kind, LogRecord, Report, check};

/// Histories per defect.
const RUNS: u64 = 200;

fn chain() -> Chain {
    Chain {
        output: Some(run::OUTPUT.to_owned()),
    }
}

fn kinds(report: &Report) -> BTreeSet<Kind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn correct_histories_are_found_clean() {
    let (mut replays, mut surplus, mut applied) = (0, 0, 0);
    for seed in 0..RUNS {
        let report = check(&Run::new(&mut Random::new(seed)).history(), &chain());
        assert!(report.is_clean(), "seed {seed}: {report}");
        replays += report.replays.len();
        surplus += report.surplus;
        applied += report.applied;
    }
    // They are not clean because nothing happens in them.
    assert!(
        replays > 200 && surplus > 1000 && applied > 20_000,
        "{replays} {surplus} {applied}"
    );
}

#[test]
fn correct_histories_are_found_clean_although_less_is_known_of_them() {
    for seed in 0..RUNS {
        let random = &mut Random::new(seed);
        // Deletions do not say what made them; who wrote them must be known.
        let mut history = Run::without_deletions(random).history();
        history.expected.unclean_ends = history.expected.unclean_ends.filter(|_| random.one_in(2));
        for partition in history.partitions.values_mut() {
            let forget = random.below(3);
            for commits in partition.inputs.values_mut().map(|input| &mut input.commits) {
                match forget {
                    0 => *commits = None,
                    1 => commits
                        .iter_mut()
                        .flatten()
                        .for_each(|commit| commit.changelog_end = None),
                    _ => {}
                }
            }
            let records = partition.changelog.records.iter_mut();
            records.filter(|_| forget != 2).for_each(|record| record.writer = None);
        }
        let report = check(&history, &chain());
        assert!(report.is_clean(), "seed {seed}: {report}");
    }
}

#[test]
fn every_planted_defect_is_found_by_its_name() {
    for defect in Defect::ALL {
        let mut planted = 0;
        for seed in 0.. {
            let random = &mut Random::new(seed);
            let Some(history) = defect.plant(random) else {
                // There is no place for it in this one.
                assert!(seed < 20 * RUNS, "{defect:?} could be planted {planted} times only");
                continue;
            };
            let report = check(&history, &chain());
            let (name, found) = (defect.name(), kinds(&report));
            assert!(
                found.contains(&name),
                "{defect:?}, seed {seed}: no {name:?} in {report}"
            );
            // And it is not drowned in what is not wrong.
            let follows = defect.consequences();
            let others: Vec<_> = found
                .iter()
                .filter(|kind| **kind != name && !follows.contains(kind))
                .collect();
            assert!(others.is_empty(), "{defect:?}, seed {seed}: {others:?} in {report}");
            planted += 1;
            if planted == RUNS {
                break;
            }
        }
    }
}

#[test]
fn findings_name_key_partition_and_offset() {
    let located = |defect: Defect| {
        let history = (0..).find_map(|seed| defect.plant(&mut Random::new(seed))).unwrap();
        check(&history, &chain()).findings.remove(0)
    };
    for defect in [Defect::Drop, Defect::ApplyTwice, Defect::Swap, Defect::OtherKeysRow] {
        let finding = located(defect);
        assert!(
            finding.key.is_some() && finding.partition >= 0 && finding.offset >= 0,
            "{finding}"
        );
        assert!(finding.to_string().contains("offset"), "{finding}");
    }
}

#[test]
fn counting_is_checked_by_key() {
    for seed in 0..RUNS {
        let random = &mut Random::new(seed);
        let mut history = Run::counting(random).history();
        let report = check(&history, &Count);
        assert!(report.is_clean(), "seed {seed}: {report}");
        let surplus = report.surplus;
        history.expected.surplus = Some(surplus);
        assert!(check(&history, &Count).is_clean());
        if surplus > 0 {
            history.expected.surplus = Some(surplus - 1);
            assert_eq!(kinds(&check(&history, &Count)), BTreeSet::from([Kind::Doubled]));
            history.expected.surplus = None;
        }
        let found = lose_one(&mut history).map(|()| kinds(&check(&history, &Count)));
        assert!(found.is_none_or(|found| found.contains(&Kind::Lost)), "seed {seed}");
    }
}

/// Removes the changelog record of an input that was applied once, if there is one.
fn lose_one(history: &mut History) -> Option<()> {
    let partition = history.partitions.get_mut(&0)?;
    let (inputs, changelog) = (
        &partition.inputs[run::INPUT].log.records,
        &mut partition.changelog.records,
    );
    let count = |records: &[LogRecord], key| records.iter().filter(|record| record.key == key).count();
    let single = changelog.iter().rposition(|record| {
        let key = || record.key.clone();
        count(changelog, key()) == count(inputs, key())
    });
    changelog.remove(single?);
    Some(())
}
