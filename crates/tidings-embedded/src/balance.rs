//! Who reads which partition: a pure function.

/// Gives each partition a member (an index into `loads`' places), so that members differ by one partition at the
/// most and as few partitions as possible move.
///
/// `owners` has the place of each partition's present member, or none for a free one. Members are in the order in
/// which they joined; the earlier ones get the partition that is left over, unless a later one holds it already.
pub(crate) fn balance(members: usize, owners: &[Option<usize>]) -> Vec<Option<usize>> {
    if members == 0 {
        return vec![None; owners.len()];
    }
    let quotas = quotas(members, owners);
    let mut loads = vec![0; members];
    let mut wanted: Vec<Option<usize>> = owners
        .iter()
        .map(|owner| {
            let place = (*owner)?;
            let (load, quota) = (loads.get_mut(place)?, *quotas.get(place)?);
            (*load < quota).then(|| {
                *load += 1;
                place
            })
        })
        .collect();
    // Free partitions go in stretches to the members in order, so that a first assignment is a range for each.
    let mut place = 0;
    for free in wanted.iter_mut().filter(|owner| owner.is_none()) {
        while loads
            .get(place)
            .zip(quotas.get(place))
            .is_some_and(|(load, quota)| load >= quota)
        {
            place += 1;
        }
        if let Some(load) = loads.get_mut(place) {
            *load += 1;
            *free = Some(place);
        }
    }
    wanted
}

/// How many partitions each member gets. Those that hold more than the smaller share now come first for the larger.
fn quotas(members: usize, owners: &[Option<usize>]) -> Vec<usize> {
    let smaller = owners.len() / members;
    let mut larger = owners.len() % members;
    let mut held = vec![0; members];
    for place in owners.iter().flatten() {
        if let Some(count) = held.get_mut(*place) {
            *count += 1;
        }
    }
    let mut quotas = vec![smaller; members];
    for wants_more in [true, false] {
        for (quota, held) in quotas.iter_mut().zip(&held) {
            if larger > 0 && *quota == smaller && (*held > smaller) == wants_more {
                *quota += 1;
                larger -= 1;
            }
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_first_assignment_gives_each_member_a_range() {
        let places: Vec<_> = balance(2, &[None; 5]).into_iter().flatten().collect();
        assert_eq!(places, [0, 0, 0, 1, 1]);
    }

    #[test]
    fn a_member_that_joins_takes_only_what_it_needs() {
        let owners = [Some(0), Some(0), Some(0), Some(1), Some(1), Some(1)];
        let wanted = balance(3, &owners);
        let moved = owners
            .iter()
            .zip(&wanted)
            .filter(|(before, after)| before != after)
            .count();
        assert_eq!(moved, 2);
        assert_eq!(wanted.iter().filter(|place| **place == Some(2)).count(), 2);
    }

    #[test]
    fn more_members_than_partitions_leave_some_without() {
        assert_eq!(balance(3, &[None, None]), [Some(0), Some(1)]);
        assert_eq!(balance(0, &[None, Some(0)]), [None, None]);
    }

    proptest! {
        #[test]
        fn shares_are_even_and_nothing_moves_that_need_not(
            members in 1usize..6,
            owners in prop::collection::vec(prop::option::of(0usize..8), 0..40)
        ) {
            // An owner that is gone counts as none.
            let owners: Vec<_> = owners.into_iter().map(|owner| owner.filter(|place| *place < members)).collect();
            let wanted = balance(members, &owners);
            let mut loads = vec![0usize; members];
            for place in &wanted {
                loads[place.unwrap()] += 1;
            }
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            prop_assert!(most - least <= 1);
            // Whoever loses a partition ends with as many as anybody may have at the most.
            for (before, after) in owners.iter().zip(&wanted) {
                if let Some(before) = before && after != &Some(*before) {
                    prop_assert!(loads[*before] >= *least);
                    prop_assert!(owners.iter().filter(|owner| **owner == Some(*before)).count() > loads[*before]);
                }
            }
        }
    }
}
