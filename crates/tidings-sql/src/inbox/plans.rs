//! However many claims there are, no statement looks at all of them.

use crate::dialect::Dialect;
use crate::store::SqlStore;
use crate::value::Value;
use sqlx::{Postgres, Sqlite};

const MANY: u32 = 100_000;

/// The plan of a statement, among so many claims.
pub(crate) async fn plan<DB: Dialect>(
    store: &SqlStore<DB>,
    explain: &str,
    column: usize,
    statement: &str,
    values: &[Value<'_>],
) -> String {
    let mut tx = SqlStore::begin(store).await.unwrap();
    let sql = format!("{explain} {statement}").into();
    let rows = tx.fetch("explaining", &sql, values).await.unwrap();
    let lines = rows.iter().map(|row| DB::text(row, column).unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

async fn fill<DB: Dialect>(store: &SqlStore<DB>, numbers: &str) {
    let mut tx = SqlStore::begin(store).await.unwrap();
    let fill = store.sql(&format!(
        "INSERT INTO {{t}}inbox SELECT 'stock', 'm-' || i, i {numbers}"
    ));
    tx.execute("filling", &fill, &[]).await.unwrap();
    tx.execute("counting", &"ANALYZE".into(), &[]).await.unwrap();
    tx.commit().await.unwrap();
}

/// The plans of claiming a batch, of giving it back, and of forgetting.
async fn plans<DB: Dialect>(store: &SqlStore<DB>, explain: &str, column: usize) -> [String; 3] {
    let ids: Vec<String> = (0..500).map(|id| format!("m-{id}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let claim = [Value::Text("stock"), Value::Texts(&ids), Value::Text("5000")];
    let claim = if DB::CLAIM_WAITS { &claim[..] } else { &claim[..2] };
    let statements = store.statements();
    let forget = [Value::Int(1_000), Value::Int(1_000)];
    [
        plan(store, explain, column, &statements.claim, claim).await,
        plan(store, explain, column, &statements.give_back, &claim[..2]).await,
        plan(store, explain, column, &statements.forget, &forget).await,
    ]
}

#[tokio::test]
async fn on_postgresql_claims_are_found_by_their_indexes() {
    let test = "on_postgresql_claims_are_found_by_their_indexes";
    let Some(server) = brokers::postgres_or_skip(test) else {
        return;
    };
    let database = server.database("tidings").unwrap();
    let store = SqlStore::<Postgres>::open(&database.url()).await.unwrap();
    fill(&store, &format!("FROM generate_series(1, {MANY}) AS n (i)")).await;
    let [claim, give_back, forget] = plans(&store, "EXPLAIN", 0).await;
    for (plan, index) in [
        (&claim, "Conflict Resolution: NOTHING"),
        (&give_back, "inbox_pkey"),
        // For those that are old enough, and not only for the order.
        (&forget, "Index Cond: (at <"),
    ] {
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
    }
    assert!(
        forget.contains("Index Scan using inbox_at") && forget.contains("Tid Scan"),
        "{forget}"
    );
}

#[tokio::test]
async fn on_sqlite_claims_are_found_by_their_indexes() {
    let store = SqlStore::<Sqlite>::open("sqlite::memory:").await.unwrap();
    let numbers = format!(
        "FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) SELECT i FROM n)"
    );
    fill(&store, &numbers).await;
    let [claim, give_back, forget] = plans(&store, "EXPLAIN QUERY PLAN", 3).await;
    for (plan, index) in [
        (&claim, "SCAN json_each"),
        (&give_back, "USING PRIMARY KEY (scope=? AND id=?)"),
        (&forget, "USING COVERING INDEX tidings_inbox_at (at<?)"),
    ] {
        assert!(
            plan.contains(index) && !plan.contains("SCAN tidings_inbox"),
            "{plan}"
        );
    }
}
