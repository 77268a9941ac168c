//! The requests that concern a broker: each is one method of the seam.

use super::Shared;
use super::calls::{Received, call, failed, json, parse, refuse, typed, whole};
use crate::error::ManageError;
use crate::wire::FRAMES;
use crate::wire::error::WirePublishError;
use crate::wire::frame::{decode_publish, encode_batch};
use crate::wire::json::{
    DeleteRequest, Nothing, OffsetRequest, Page, PageRequest, PositionsRequest, PrepareRequest, Published,
    ReadRequest, StoreRequest, To, WireDestination, WireGroup, WirePartition, down,
};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use std::sync::Arc;
use tidings_core::{Outgoing, PublishError, Sink, Timestamp};
use tokio::time::Instant;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/binder/health", call(health))
        .route("/v1/binder/prepare", call(prepare))
        .route("/v1/binder/positions", call(positions))
        .route("/v1/binder/store-progress", call(store_progress))
        .route("/v1/binder/delete-progress", call(delete_progress))
        .route("/v1/binder/offset-at", call(offset_at))
        .route("/v1/binder/destinations", call(destinations))
        .route("/v1/binder/groups", call(groups))
        .route("/v1/binder/read", post(read))
        .route("/v1/binder/publish", post(publish))
        .route("/v1/binder/flush", call(flush))
}

async fn health(shared: Arc<Shared>, to: To<Nothing>) -> Result<Option<String>, ManageError> {
    Ok(down(shared.binder(&to.binder)?.health()))
}

async fn prepare(shared: Arc<Shared>, to: To<PrepareRequest>) -> Result<WireDestination, ManageError> {
    let prepared = shared.binder(&to.binder)?.prepare(to.request.into()).await?;
    Ok(prepared.into())
}

async fn positions(shared: Arc<Shared>, to: To<PositionsRequest>) -> Result<Vec<WirePartition>, ManageError> {
    let PositionsRequest { destination, group } = to.request;
    let binder = shared.binder(&to.binder)?;
    let found = binder.positions(&destination, group.as_deref()).await?;
    Ok(found.into_iter().map(Into::into).collect())
}

async fn store_progress(shared: Arc<Shared>, to: To<StoreRequest>) -> Result<(), ManageError> {
    let request = to.request;
    let binder = shared.binder(&to.binder)?;
    let stored = binder.store_progress(
        &request.destination,
        request.partition,
        &request.group,
        request.progress.into(),
    );
    Ok(stored.await?)
}

async fn delete_progress(shared: Arc<Shared>, to: To<DeleteRequest>) -> Result<(), ManageError> {
    let DeleteRequest { destination, group } = to.request;
    let binder = shared.binder(&to.binder)?;
    Ok(binder.delete_progress(&destination, &group).await?)
}

async fn offset_at(shared: Arc<Shared>, to: To<OffsetRequest>) -> Result<u64, ManageError> {
    let request = to.request;
    let time = Timestamp::from_millis(request.time_ms);
    let binder = shared.binder(&to.binder)?;
    Ok(binder
        .offset_at(&request.destination, request.partition, time)
        .await?)
}

async fn destinations(
    shared: Arc<Shared>,
    to: To<PageRequest>,
) -> Result<Page<WireDestination>, ManageError> {
    let all = shared.binder(&to.binder)?.destinations().await?;
    let left = all.into_iter().map(WireDestination::from);
    Ok(page(left, &to.request, shared.options.page_size, |info| {
        (&info.name, 1)
    }))
}

async fn groups(shared: Arc<Shared>, to: To<PageRequest>) -> Result<Page<WireGroup>, ManageError> {
    let all = shared.binder(&to.binder)?.groups().await?;
    let left = all.into_iter().map(WireGroup::from);
    // A group is never cut, so what counts is how many positions there are.
    let weigh = |group: &WireGroup| group.positions.len().max(1);
    Ok(page(left, &to.request, shared.options.page_size, |group| {
        (&group.name, weigh(group))
    }))
}

/// What comes behind the last page, until it weighs enough; at least one.
fn page<T>(
    all: impl Iterator<Item = T>,
    request: &PageRequest,
    size: usize,
    facts: impl Fn(&T) -> (&String, usize),
) -> Page<T> {
    let mut left = all
        .skip_while(|entry| {
            request
                .after
                .as_ref()
                .is_some_and(|after| facts(entry).0 <= after)
        })
        .peekable();
    let (mut entries, mut weight) = (Vec::new(), 0);
    while let Some(entry) = left.next_if(|entry| weight == 0 || weight + facts(entry).1 <= size) {
        weight += facts(&entry).1;
        entries.push(entry);
    }
    Page {
        more: left.peek().is_some(),
        entries,
    }
}

async fn read(State(shared): State<Arc<Shared>>, body: Received) -> Response {
    let To { binder, request } = match parse::<To<ReadRequest>>(body) {
        Ok(to) => to,
        Err(refused) => return refused,
    };
    let binder = match shared.binder(&binder) {
        Ok(binder) => binder,
        Err(error) => return failed(error),
    };
    let wanted = usize::try_from(request.max_bytes).unwrap_or(usize::MAX);
    let bytes = wanted.min(shared.options.read_bytes);
    let batch = binder.read(&request.destination, request.partition, request.from, bytes);
    match batch.await {
        Ok(batch) => typed(StatusCode::OK, FRAMES, encode_batch(&batch).into()),
        Err(error) => failed(error.into()),
    }
}

async fn publish(State(shared): State<Arc<Shared>>, body: Received) -> Response {
    let body = match whole(body) {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let (binder, messages) = match decode_publish(&body) {
        Ok(publish) => publish,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match shared.binder(&binder) {
        Ok(binder) => {
            let until = Instant::now() + shared.options.request_timeout / 10 * 9;
            json(
                StatusCode::OK,
                &publish_all(&*binder.sink(), messages, until).await,
            )
        }
        Err(error) => failed(error),
    }
}

/// Publishes in order and says what each came to. One that is not answered in time leaves time to say so.
async fn publish_all(sink: &dyn Sink, messages: Vec<Outgoing>, until: Instant) -> Vec<Published> {
    let began = Instant::now();
    let destinations: Vec<_> = messages.iter().map(|one| one.destination.clone()).collect();
    let receipts = sink.publish_all(messages);
    let mut results = Vec::with_capacity(receipts.len());
    for (receipt, destination) in receipts.into_iter().zip(destinations) {
        let result = tokio::time::timeout_at(until, receipt).await;
        let late = || PublishError::Timeout {
            destination,
            after: began.elapsed(),
        };
        results.push(match result.unwrap_or_else(|_| Err(late())) {
            Ok(position) => Published::At(position.into()),
            Err(error) => Published::Refused(error.into()),
        });
    }
    results
}

async fn flush(shared: Arc<Shared>, to: To<Nothing>) -> Result<Option<WirePublishError>, ManageError> {
    let flushed = shared.binder(&to.binder)?.sink().flush().await;
    Ok(flushed.err().map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(weights: &[usize], size: usize) -> Vec<Vec<String>> {
        let all: Vec<_> = (0..)
            .zip(weights)
            .map(|(number, weight)| (format!("{number:04}"), *weight))
            .collect();
        let mut request = PageRequest { after: None };
        let mut pages = Vec::new();
        loop {
            let found = page(all.iter(), &request, size, |entry| (&entry.0, entry.1));
            let names: Vec<_> = found.entries.iter().map(|entry| entry.0.clone()).collect();
            request.after = names.last().cloned();
            pages.push(names);
            if !found.more {
                return pages;
            }
        }
    }

    #[test]
    fn pages_hold_everything_once_in_order_and_no_more_than_their_size() {
        assert_eq!(pages(&[], 2), [Vec::<String>::new()]);
        let expected = [
            vec!["0000", "0001"],
            vec!["0002"],
            vec!["0003"],
            vec!["0004", "0005"],
        ];
        assert_eq!(pages(&[1, 1, 1, 9, 1, 1], 2), expected);
        let all: Vec<_> = pages(&[1; 10_000], 1_000);
        assert_eq!((all.len(), all.concat().len()), (10, 10_000));
    }
}
