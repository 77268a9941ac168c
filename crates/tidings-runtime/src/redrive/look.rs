//! Looking at dead letters that were not sent back yet: [`look_through`].

use super::letters::{DeadLetter, Groups, Scan, held};
use std::ops::ControlFlow;
use std::sync::Arc;
use tidings_core::{BinderError, DynBinder, HeldLetters, LettersOf, Position};

/// Dead letters that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterList {
    /// The destination that they are published to.
    pub dead_letter: Arc<str>,
    /// Whose they are. Only a broker that hands letters over has to be told; with others, the letters of every group are
    /// looked at, and messages that somebody else put there.
    pub of: Vec<LettersOf>,
}

/// Is given one letter after the other, and says whether to go on.
pub type EachLetter<'a> = dyn FnMut(DeadLetter) -> ControlFlow<()> + Send + 'a;

/// Dead letters that were not sent back yet, the oldest of a place first: at most `limit`, those after `after`. See
/// [`look_through`].
///
/// # Errors
/// The broker cannot be read.
pub async fn pending_dead_letters(
    binder: &dyn DynBinder,
    lists: &[LetterList],
    after: Option<&Position>,
    limit: usize,
) -> Result<Vec<DeadLetter>, BinderError> {
    let mut pending = Vec::new();
    if limit == 0 {
        return Ok(pending);
    }
    let mut each = |letter| {
        pending.push(letter);
        match pending.len() < limit {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    look_through(binder, lists, after, &mut each).await?;
    Ok(pending)
}

/// Shows each dead letter that was not sent back yet, place by place and the oldest of a place first, those after `after`.
/// Where a broker hands letters over, each is held until the look at its place ends; and if `after` is gone from there by
/// now, its place is shown from the beginning. A destination that does not exist has no letters.
///
/// # Errors
/// The broker cannot be read.
pub async fn look_through(
    binder: &dyn DynBinder,
    lists: &[LetterList],
    after: Option<&Position>,
    each: &mut EachLetter<'_>,
) -> Result<(), BinderError> {
    let places = places(binder, lists);
    let begin = after.map_or(0, |after| begin(&places, after));
    for place in places.iter().skip(begin) {
        let after = after.filter(|after| *after.destination() == *place.name());
        let looked = match place {
            Place::Lying(destination) => lying(binder, destination, after, each).await,
            Place::Held(of, _) => handed_over(binder, of, after, each).await,
        };
        match looked {
            Ok(ControlFlow::Continue(())) | Err(BinderError::UnknownDestination { .. }) => {}
            Ok(ControlFlow::Break(())) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Where letters are.
enum Place<'a> {
    Lying(&'a Arc<str>),
    Held(&'a LettersOf, Arc<str>),
}

impl Place<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Lying(name) => name,
            Self::Held(_, name) => name,
        }
    }
}

fn places<'a>(binder: &dyn DynBinder, lists: &'a [LetterList]) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for list in lists {
        let held = list.of.iter().filter_map(|of| {
            let letters = binder.hold_letters(of)?;
            Some(Place::Held(of, letters.place().clone()))
        });
        let before = places.len();
        places.extend(held);
        if places.len() == before {
            places.push(Place::Lying(&list.dead_letter));
        }
    }
    places.sort_by(|a, b| a.name().cmp(b.name()));
    places.dedup_by(|a, b| a.name() == b.name());
    places
}

/// The first place that is not done when everything up to that letter is.
fn begin(places: &[Place<'_>], after: &Position) -> usize {
    places.partition_point(|place| place.name() < after.destination())
}

async fn lying(
    binder: &dyn DynBinder,
    destination: &Arc<str>,
    after: Option<&Position>,
    each: &mut EachLetter<'_>,
) -> Result<ControlFlow<()>, BinderError> {
    let mut groups = Groups::new(binder, destination.clone());
    for at in binder.positions(destination, None).await? {
        let from = match after {
            Some(after) if at.partition < after.partition() => continue,
            Some(after) if at.partition == after.partition() => after.offset().saturating_add(1),
            _ => 0,
        };
        let from = from.max(at.first);
        let mut scan = Scan::new(binder, destination.clone(), at.partition, from, at.end);
        while let Some(letters) = scan.next().await? {
            for letter in letters {
                if !groups.sent_back(&letter).await? && each(letter).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

async fn handed_over(
    binder: &dyn DynBinder,
    of: &LettersOf,
    mut after: Option<&Position>,
    each: &mut EachLetter<'_>,
) -> Result<ControlFlow<()>, BinderError> {
    while let Some(mut letters) = binder.hold_letters(of) {
        let looked = go_through(of, &mut *letters, &mut after, each).await;
        let closed = letters.close().await;
        let looked = looked?;
        closed?;
        // Else the letter to begin behind is gone.
        if after.take().is_none() {
            return Ok(looked);
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Shows what lies behind a letter, which is none any more once it is found.
async fn go_through(
    of: &LettersOf,
    letters: &mut dyn HeldLetters,
    after: &mut Option<&Position>,
    each: &mut EachLetter<'_>,
) -> Result<ControlFlow<()>, BinderError> {
    let group = match of {
        LettersOf::Group { group, .. } => Some(&**group),
        LettersOf::Place(_) => None,
    };
    while let Some(some) = letters.next(usize::MAX).await? {
        for letter in some {
            if let Some(wanted) = *after {
                if letter.position == *wanted {
                    *after = None;
                }
                continue;
            }
            if each(held(letter, group)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
