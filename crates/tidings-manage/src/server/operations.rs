//! The requests that concern the service as a whole. Long work answers with a stream: see [`stream`].

use super::Shared;
use super::calls::{Received, call, failed, json, parse};
use super::stream::stream;
use crate::app::{
    AppDescription, AppHealth, OutboxInfo, RedriveCounts, RedriveProgress, RedriveRequest, RequestInfo,
    SubscriptionInfo,
};
use crate::error::ManageError;
use crate::snapshots::{SnapshotBytes, SnapshotCounts, SnapshotRequest};
use crate::wire::json::{Nothing, To, WireAbout, WireBinder, down};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/about", get(about))
        .route("/v1/app/describe", call(describe))
        .route("/v1/app/health", call(health))
        .route("/v1/app/subscriptions", call(subscriptions))
        .route("/v1/app/requests", call(requests))
        .route("/v1/app/outboxes", call(outboxes))
        .route("/v1/app/redrive", post(redrive))
        .route("/v1/binder/snapshot", post(snapshot))
}

async fn about(State(shared): State<Arc<Shared>>) -> Response {
    let binders = shared.binders.iter().map(|(name, binder)| WireBinder {
        name: name.clone(),
        kind: binder.kind().to_owned(),
        capabilities: binder.capabilities().into(),
        down: down(binder.health()),
    });
    let about = WireAbout {
        app: shared.app_name.clone(),
        pid: std::process::id(),
        has_app: shared.app.is_some(),
        request_bytes: shared.options.request_bytes,
        read_bytes: shared.options.read_bytes,
        binders: binders.collect(),
    };
    json(StatusCode::OK, &about)
}

async fn describe(shared: Arc<Shared>, _: Nothing) -> Result<AppDescription, ManageError> {
    Ok(shared.app()?.describe())
}

async fn health(shared: Arc<Shared>, _: Nothing) -> Result<AppHealth, ManageError> {
    Ok(shared.app()?.health())
}

async fn subscriptions(shared: Arc<Shared>, _: Nothing) -> Result<Vec<SubscriptionInfo>, ManageError> {
    Ok(shared.app()?.subscriptions())
}

async fn requests(shared: Arc<Shared>, _: Nothing) -> Result<Vec<RequestInfo>, ManageError> {
    Ok(shared.app()?.requests())
}

async fn outboxes(shared: Arc<Shared>, _: Nothing) -> Result<Vec<OutboxInfo>, ManageError> {
    Ok(shared.app()?.outboxes())
}

async fn redrive(State(shared): State<Arc<Shared>>, body: Received) -> Response {
    let request = match parse::<RedriveRequest>(body) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let app = match shared.app() {
        Ok(app) => app.clone(),
        Err(error) => return failed(error),
    };
    stream::<RedriveCounts, RedriveCounts, _, _>(&shared, async move |reporter| {
        let progress = RedriveProgress::new(move |counts| reporter.report(*counts));
        app.redrive(request, progress).await
    })
}

/// A copy that nobody waits for any more is completed all the same: half of one is of use to nobody.
async fn snapshot(State(shared): State<Arc<Shared>>, body: Received) -> Response {
    let To { binder, request } = match parse::<To<SnapshotRequest>>(body) {
        Ok(request) => request,
        Err(refused) => return refused,
    };
    let snapshots = match shared.snapshots(&binder) {
        Ok(snapshots) => snapshots.clone(),
        Err(error) => return failed(error),
    };
    stream::<SnapshotBytes, SnapshotCounts, _, _>(&shared, async move |reporter| {
        let watch = Box::new(move |far| {
            // It does not stop in the middle.
            let _ = reporter.report(far);
        });
        snapshots.snapshot(request, watch).await
    })
}
