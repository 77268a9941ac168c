//! Asks the broker what there is, and makes what is to be read ready: [`Looker`].

use super::Discovery;
use super::choose::Choice;
use crate::spec::{DeadLetterTarget, Input, SubscriptionSpec};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tidings_core::{
    BinderError, Create, DestinationInfo, DestinationRole, DestinationSpec, DynBinder, Policy, Start,
    retry_destination,
};

/// What a look has found.
#[derive(Debug)]
pub(crate) struct Found {
    /// All that is to be read; none if the broker could not be asked.
    pub(crate) inputs: Option<Vec<Input>>,
    /// Why something is not read that matches.
    pub(crate) trouble: Option<String>,
}

/// What a subscription begins with.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What it begins with where its policy says.
    pub(crate) first: Vec<Input>,
    /// All that it reads: the others came later, and are read from their first message on.
    pub(crate) all: Vec<Input>,
    pub(crate) trouble: Option<String>,
}

/// Looks for what a subscription's patterns match.
#[derive(Debug)]
pub(crate) struct Looker {
    binder: Arc<dyn DynBinder>,
    group: Option<Arc<str>>,
    policy: Policy,
    discovery: Discovery,
    /// What is read by name.
    named: Vec<Input>,
    known: BTreeMap<Arc<str>, Known>,
}

/// A destination that is read.
#[derive(Debug)]
struct Known {
    input: Input,
    pattern: usize,
    /// It was not listed the last time. A broker that has just started, or hears late of what another was told, may
    /// leave something out; what is missing twice is gone.
    missing: bool,
}

/// The number of partitions of each destination.
type Listed<'a> = HashMap<&'a str, u32>;

impl Looker {
    /// None if nothing is to be looked for.
    pub(crate) fn of(spec: &SubscriptionSpec) -> Option<Self> {
        (!spec.discovery.patterns.is_empty()).then(|| Self {
            binder: spec.binder.clone(),
            group: spec.context.group.clone(),
            policy: spec.policy.clone(),
            discovery: spec.discovery.clone(),
            named: spec.inputs.clone(),
            known: BTreeMap::new(),
        })
    }

    pub(crate) fn interval(&self) -> std::time::Duration {
        self.discovery.interval
    }

    /// The first look: what a group has begun to read tells which destinations came later.
    pub(crate) async fn begin(&mut self) -> Result<Begun, BinderError> {
        let trouble = self.find().await?;
        let all = self.inputs();
        let later = self.later().await?;
        let first = all
            .iter()
            .filter(|input| !later.contains(&input.destination))
            .cloned()
            .collect();
        Ok(Begun { first, all, trouble })
    }

    /// A later look.
    pub(crate) async fn look(&mut self) -> Found {
        match self.find().await {
            Ok(trouble) => Found {
                inputs: Some(self.inputs()),
                trouble,
            },
            Err(error) => Found {
                inputs: None,
                trouble: Some(format!("cannot look for what matches: {error}")),
            },
        }
    }

    fn inputs(&self) -> Vec<Input> {
        let found = self.known.values().map(|known| known.input.clone());
        self.named.iter().cloned().chain(found).collect()
    }

    /// Brings what is known up to date; says what stands in the way of some of it.
    async fn find(&mut self) -> Result<Option<String>, BinderError> {
        let all = self.binder.destinations().await?;
        let is_named = |name: &str| self.named.iter().any(|input| &*input.destination == name);
        let chosen = self.discovery.choose(&all, is_named);
        self.known.retain(|name, known| {
            let missed = std::mem::replace(&mut known.missing, !chosen.contains_key(name));
            !(missed && known.missing)
        });
        let mut trouble = None;
        for (name, choice) in chosen {
            if self.known.contains_key(&name) {
                continue;
            }
            match self.admit(&name, &choice, &all).await {
                Ok(input) => {
                    let pattern = choice.pattern;
                    let missing = false;
                    let known = Known {
                        input,
                        pattern,
                        missing,
                    };
                    self.known.insert(name, known);
                }
                Err(error) => {
                    tracing::warn!(destination = %name, %error, "matches a pattern and cannot be read");
                    trouble.get_or_insert_with(|| format!("\"{name}\" is not read: {error}"));
                }
            }
        }
        Ok(trouble)
    }

    /// A destination with what belongs to it, which exists from then on.
    async fn admit(
        &self,
        name: &Arc<str>,
        choice: &Choice,
        all: &[DestinationInfo],
    ) -> Result<Input, BinderError> {
        let listed: Listed<'_> = all.iter().map(|info| (&*info.name, info.partitions)).collect();
        let create = self
            .discovery
            .patterns
            .get(choice.pattern)
            .map_or(Create::IfMissing, |input| input.create);
        let spec = |name: &str, role| {
            DestinationSpec::new(name, choice.partitions)
                .create(create)
                .role(role)
        };
        let retry = self.group.as_deref().map(|group| retry_destination(name, group));
        let retry = retry.filter(|_| self.binder.capabilities().retry_lane);
        if let Some(retry) = &retry {
            let spec = spec(retry, DestinationRole::Retry);
            let partitions = self.make(spec, &listed).await?;
            if partitions != choice.partitions {
                return Err(another_shape(name, choice.partitions, retry, partitions));
            }
        }
        let letters = self.policy.dead_letter_destination(name, self.group.as_deref());
        let dead_letter = match self.policy.lose_exhausted_messages {
            true => None,
            false => Some(DeadLetterTarget {
                partitions: self
                    .make(spec(&letters, DestinationRole::DeadLetters), &listed)
                    .await?,
                destination: letters.into(),
            }),
        };
        Ok(Input {
            destination: name.clone(),
            retry: retry.map(Arc::from),
            dead_letter,
        })
    }

    /// How many partitions a destination has, which is created if it may be.
    async fn make(&self, spec: DestinationSpec, listed: &Listed<'_>) -> Result<u32, BinderError> {
        if let Some(partitions) = listed.get(&*spec.name) {
            return Ok(*partitions);
        }
        Ok(self.binder.prepare(spec).await?.partitions)
    }

    /// Destinations that came after the group had begun to read what their pattern matches. Where it has begun nothing
    /// yet, all are there from the start.
    async fn later(&self) -> Result<BTreeSet<Arc<str>>, BinderError> {
        let Some(group) = self.group.as_deref() else {
            return Ok(BTreeSet::new());
        };
        if self.policy.start == Start::Earliest {
            // They begin at the same place either way.
            return Ok(BTreeSet::new());
        }
        let mut begun = BTreeSet::new();
        let mut without = Vec::new();
        for (name, known) in &self.known {
            let positions = self.binder.positions(name, Some(group)).await?;
            match positions.iter().any(|at| at.progress.is_some()) {
                true => drop(begun.insert(known.pattern)),
                false => without.push((name, known.pattern)),
            }
        }
        let later = without.into_iter().filter(|(_, pattern)| begun.contains(pattern));
        Ok(later.map(|(name, _)| name.clone()).collect())
    }
}

fn another_shape(name: &str, wanted: u32, retry: &str, has: u32) -> BinderError {
    BinderError::Failed {
        doing: format!("using \"{retry}\" as the retry destination of \"{name}\""),
        reason: format!(
            "it has {has} partitions and not {wanted}: remove it when it is empty, it is made again with the right number"
        ),
    }
}
