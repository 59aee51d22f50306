//! How long reading takes. Printed, not asserted: the machine decides.

use std::time::Instant;

use acceptance::catalog::{read_answers, read_stamp};
use acceptance::sql::done;
use stonescriptdb_schema::{Kind, Model};

#[test]
fn a_big_schema_is_read_in_well_under_a_second() {
    let cluster = crate::cluster();
    let mut client = crate::database(&cluster, "big");
    done(client.batch_execute(include_str!("big.sql")));
    for analyzed in [false, true] {
        if analyzed {
            done(cluster.connect("big").batch_execute("ANALYZE"));
        }
        let mut client = cluster.connect_as(crate::OWNER, "big");
        for session in ["new", "warm"] {
            let start = Instant::now();
            let answers = read_answers(&mut client);
            let (queries, bytes) = (start.elapsed(), answers.iter().map(String::len).sum::<usize>());
            let start = Instant::now();
            let model = Model::from_catalog(&answers).unwrap();
            let parse = start.elapsed();
            let start = Instant::now();
            let fingerprint = model.fingerprint();
            println!(
                "{} objects, {bytes} bytes, {session} session, analyzed: {analyzed}; queries {queries:?}, parse {parse:?}, \
                 fingerprint {:?} {fingerprint}",
                model.len(),
                start.elapsed()
            );
            assert_eq!((model.of_kind(Kind::Table).count(), model.of_kind(Kind::Column).count()), (500, 5000));
            assert_eq!((model.of_kind(Kind::Routine).count(), model.of_kind(Kind::Index).count()), (1000, 1000));
            let start = Instant::now();
            read_stamp(&mut client);
            println!("stamp {:?}", start.elapsed());
        }
    }
}

#[test]
fn the_stamp_of_a_small_schema_costs_next_to_nothing() {
    let cluster = crate::cluster();
    let mut client = crate::database(&cluster, "small");
    let small = include_str!("big.sql").replace("1..500", "1..30").replace("1..1000", "1..75").replace("% 500", "% 30");
    done(client.batch_execute(&small));
    let statement = done(client.prepare(stonescriptdb_schema::STAMP_SQL));
    for number in 0..8 {
        let start = Instant::now();
        read_stamp(&mut client);
        let whole = start.elapsed();
        let start = Instant::now();
        done(client.query_one(&statement, &[]));
        println!("stamp {number}: {whole:?}, prepared {:?}", start.elapsed());
    }
}
