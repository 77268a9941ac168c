//! However many rows wait, no look of the relay reads all of them.

use crate::inbox::plans::plan;
use crate::store::SqlStore;
use crate::value::Value;
use sqlx::Postgres;

#[tokio::test]
async fn on_postgresql_the_first_rows_are_found_by_their_index() {
    let test = "on_postgresql_the_first_rows_are_found_by_their_index";
    let Some(server) = brokers::postgres_or_skip(test) else {
        return;
    };
    let database = server.database("tidings").unwrap();
    let store = SqlStore::<Postgres>::open(&database.url()).await.unwrap();
    let fill = "INSERT INTO tidings.outbox (channel, payload, headers, written_at) \
                SELECT 'orders', decode(repeat(md5(i::text), 8), 'hex'), '', i FROM generate_series(1, 50000) AS n (i); \
                ANALYZE tidings.outbox, tidings.outbox_parked";
    database.sql(fill).unwrap();
    let held = ["letters"];
    let values = [Value::Int(1_000), Value::Int(8 << 20), Value::Texts(&held)];
    for parked_keys_wait in [false, true] {
        let [all, some] = store.outbox_statements().read(parked_keys_wait);
        for (statement, values) in [(all, &values[..2]), (some, &values[..])] {
            let plan = plan(&store, "EXPLAIN", 0, statement, values).await;
            assert!(
                plan.contains("Index Scan using outbox_pkey") && !plan.contains("Seq Scan on outbox waiting"),
                "{plan}"
            );
        }
    }
}
