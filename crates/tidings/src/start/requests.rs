//! What sends the app's requests, and where its replies may go: [`Requests`].

use crate::binders::Binders;
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidings_core::{ReplyRule, Requester, Routes};
use tidings_runtime::{RequestSpec, requester};

/// What sends requests, for each binder. None of them does anything before the first request.
#[derive(Debug)]
pub(super) struct Requests {
    by_binder: BTreeMap<String, Arc<dyn Requester>>,
    rule: ReplyRule,
}

impl Requests {
    pub(super) fn new(plan: &Plan, binders: &Binders) -> Self {
        let spec = RequestSpec {
            app: plan.app.as_str().into(),
            destination: plan.requests.destination.value.as_str().into(),
            max_open: plan.requests.max_open.value,
        };
        let all = binders
            .iter()
            .map(|(name, binder)| (name.to_owned(), requester(binder.clone(), spec.clone())));
        Self {
            by_binder: all.collect(),
            rule: plan.requests.rule(),
        }
    }

    /// The channels of these routes can be asked, each by its binder.
    pub(super) fn add_to(&self, routes: &mut Routes, plan: &Plan) {
        for channel in plan.channels.values() {
            if let Some(requester) = self.by_binder.get(&channel.binder.value) {
                routes.answer(channel.name.clone(), requester.clone());
            }
        }
        routes.allow_replies(self.rule.clone());
    }

    pub(super) fn into_running(self) -> BTreeMap<String, Arc<dyn Requester>> {
        self.by_binder
    }
}
