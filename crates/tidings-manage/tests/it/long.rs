//! Long work: its progress is told, its end too, and it stops when nobody listens.

use crate::support::{Owner, url};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidings_core::BoxFuture;
use tidings_manage::{
    AppDescription, AppHealth, Intent, LetterFilter, ManageError, ManagedApp, RedriveAction, RedriveCounts,
    RedriveProgress, RedriveRequest, ServerOptions, SubscriptionInfo, connect,
};
use tokio::sync::Notify;

/// An app whose redrive counts up until it is told to stop.
#[derive(Debug, Default)]
struct Counting {
    done: AtomicU64,
    stopped: Notify,
}

impl ManagedApp for Counting {
    fn describe(&self) -> AppDescription {
        AppDescription {
            text: "shop".to_owned(),
            json: serde_json::json!({ "app": "shop" }),
        }
    }

    fn health(&self) -> AppHealth {
        AppHealth {
            live: true,
            ready: false,
            parts: Vec::new(),
        }
    }

    fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        vec![SubscriptionInfo {
            name: "charge".to_owned(),
            handled: u64::MAX,
            ..SubscriptionInfo::default()
        }]
    }

    fn redrive(
        &self,
        request: RedriveRequest,
        progress: RedriveProgress,
    ) -> BoxFuture<'_, Result<RedriveCounts, ManageError>> {
        Box::pin(async move {
            if request.group != "billing" {
                return Err(ManageError::unknown("group", &request.group, ["billing"]));
            }
            let mut counts = RedriveCounts::default();
            while request.limit.is_none_or(|limit| counts.redriven < limit) {
                counts.redriven = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                if progress.report(&counts).is_break() {
                    self.stopped.notify_one();
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(counts)
        })
    }
}

fn request(limit: Option<u64>) -> RedriveRequest {
    RedriveRequest {
        group: "billing".to_owned(),
        letters: vec![LetterFilter::Key((0..=255).collect())],
        limit,
        action: RedriveAction::Send,
        ..RedriveRequest::default()
    }
}

fn owner(app: &Arc<Counting>) -> Owner {
    Owner::start(ServerOptions::default(), Some(app.clone()))
}

#[tokio::test]
async fn a_service_says_what_it_is() {
    let app = Arc::new(Counting::default());
    let owner = owner(&app);
    let connection = owner.connect().await;
    let service = connection.service().unwrap();
    assert_eq!(service.describe().await.unwrap(), app.describe());
    assert_eq!(service.health().await.unwrap(), app.health());
    assert_eq!(service.subscriptions().await.unwrap(), app.subscriptions());
    let about = service.about().await.unwrap();
    assert_eq!(
        (&*about.app, about.pid, about.has_app),
        ("shop", std::process::id(), true)
    );
    assert_eq!(about.binders[0].name, "main");
    let unknown = service.binder("mein").await.unwrap_err();
    assert!(
        matches!(&unknown, ManageError::Unknown { known, .. } if known == &["main"]),
        "{unknown}"
    );
}

#[tokio::test]
async fn progress_is_told_in_order_and_ends_with_the_result() {
    let app = Arc::new(Counting::default());
    let owner = owner(&app);
    let connection = owner.connect().await;
    let mut told = Vec::new();
    let service = connection.service().unwrap();
    let done = service
        .redrive(&request(Some(50)), |counts| told.push(counts.redriven))
        .await
        .unwrap();
    assert_eq!(done.redriven, 50);
    assert!(
        !told.is_empty() && told.is_sorted() && told.iter().all(|told| *told <= 50),
        "{told:?}"
    );
    let mut wrong = request(Some(1));
    wrong.group = "biling".to_owned();
    let refused = service.redrive(&wrong, |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, ManageError::Unknown { known, .. } if known == &["billing"]),
        "{refused}"
    );
}

#[tokio::test]
async fn work_stops_when_nobody_listens_any_more() {
    let app = Arc::new(Counting::default());
    let owner = owner(&app);
    let connection = owner.connect().await;
    let service = connection.service().unwrap().clone();
    let asked = tokio::spawn(async move { service.redrive(&request(None), |_| {}).await });
    while app.done.load(Ordering::Relaxed) < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    asked.abort();
    let stopped = tokio::time::timeout(Duration::from_secs(20), app.stopped.notified()).await;
    assert!(stopped.is_ok(), "it went on without a listener");
}

#[tokio::test]
async fn work_stops_when_the_service_ends_and_its_end_is_told() {
    let app = Arc::new(Counting::default());
    let owner = owner(&app);
    let connection = connect(&url(owner.root.path()), Intent::Read).await.unwrap();
    let service = connection.service().unwrap().clone();
    let asked = tokio::spawn(async move { service.redrive(&request(None), |_| {}).await });
    while app.done.load(Ordering::Relaxed) < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    owner.server.close().await;
    let done = asked.await.unwrap().unwrap();
    assert!(done.redriven >= 5);
}
