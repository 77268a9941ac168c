//! Which outboxes an app sends from, and what operators see of them. What a relay does is tested where it is done.

use std::path::Path;
use std::sync::Arc;
use tidings::prelude::*;
use tidings::{Backlog, OutboxStatus, OutboxStore, RelayRole};
use tidings_core::{BoxFuture, OutboxRelay, OutboxWatch, RelayStart};
use tidings_manage::{Intent, OutboxInfo, connect};
use tokio::time::Instant;

/// An outbox that cannot be emptied.
#[derive(Debug, Clone)]
struct Store(&'static str);

impl OutboxStore for Store {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn id(&self) -> String {
        self.0.to_owned()
    }

    fn way(&self) -> &'static str {
        "by nobody"
    }

    fn relay(&self, _: RelayStart) -> Option<Box<dyn OutboxRelay>> {
        Some(Box::new(self.clone()))
    }

    fn backlog(&self) -> BoxFuture<'static, Result<Backlog, Box<dyn std::error::Error + Send + Sync>>> {
        unreachable!("only tests in virtual time ask")
    }
}

impl OutboxRelay for Store {
    fn watch(&self) -> Arc<dyn OutboxWatch> {
        Arc::new(self.clone())
    }

    fn run(self: Box<Self>, drain: BoxFuture<'static, Instant>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            drain.await;
            Err("7 messages are left in it".to_owned())
        })
    }
}

impl OutboxWatch for Store {
    fn status(&self) -> OutboxStatus {
        let mut status = OutboxStatus::default();
        status.role = RelayRole::Leads;
        status.sent = 3;
        status.backlog = Some(Backlog::new(7, Some(millis(1_500)), 1));
        status.slot_lag = Some(9);
        status
    }
}

fn config(root: &Path) -> Config {
    let toml = format!("[binder.main]\nurl = \"embedded:{}\"\n", root.display());
    Config::from_toml(&toml, "tidings.toml").expect("it is valid")
}

#[tokio::test]
async fn each_outbox_is_sent_from_once_and_seen_by_operators() {
    let root = tempfile::tempdir().expect("a directory");
    let orders: App = App::new("orders").outbox(Store("db"));
    let app = App::new("shop")
        .publishes("orders")
        .outbox(Store("db"))
        .outbox(Store("other"))
        .merge(orders);
    let running = app.start(config(root.path())).await.expect("it starts");
    let described = running.describe().to_string();
    assert!(described.contains("outbox db  sent by nobody  at"), "{described}");
    let address = format!("embedded:{}", root.path().display());
    let connection = connect(&address, Intent::Change).await.expect("it can be asked");
    let service = connection.service().expect("it is an app");
    let outboxes = service.outboxes().await.expect("they can be listed");
    let wanted = |name: &str| OutboxInfo {
        name: name.to_owned(),
        role: "leads".to_owned(),
        sent: 3,
        backlog: Some(7),
        backlog_age_ms: Some(1_500),
        backlog_parked: Some(1),
        slot_lag_bytes: Some(9),
        ..OutboxInfo::default()
    };
    assert_eq!(outboxes, [wanted("db"), wanted("other")]);
    let health = service.health().await.expect("it can be asked");
    let part = health.parts.iter().find(|part| part.kind == "outbox");
    let part = part.expect("it is a part");
    assert_eq!(
        (part.condition.as_str(), part.reason.as_deref()),
        ("degraded", Some("1 message is parked"))
    );
    assert!(health.ready, "{health:?}");
    let drained = running.drain().await;
    assert!(!drained.is_clean());
    assert!(
        drained
            .given_up
            .contains(&"the outbox in db: 7 messages are left in it".to_owned()),
        "{drained:?}"
    );
}
