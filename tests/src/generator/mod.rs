//! Random schemas, edits of them and rows for them: the same for the same seed, on every machine.
//!
//! A [`Schema`] is data; [`Schema::pieces`] writes it as statements. Literals, index methods and conditions are chosen when it is written,
//! by the types that the columns have then, and [`Schema::repair`] takes out what refers to nothing. So any edit ([`Schema::mutate`])
//! leads to a schema that a server builds from nothing, and [`shrink`] can take away whatever it likes.

mod make;
mod make_table;
mod model;
mod mutate;
mod render;
mod render_table;
mod repair;
mod repair_routine;
mod rng;
mod rows;
mod shrink;
mod types;

pub use model::Schema;
pub use render::Piece;
pub use rng::Rng;
pub use shrink::shrink;

/// A schema and one that came of it by some edits.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What a tenant has.
    pub old: Schema,
    /// What it shall have.
    pub new: Schema,
    /// INSERTs for the old one. Some may fail.
    pub rows: Vec<String>,
}

impl Pair {
    /// The pair of a seed.
    pub fn of(seed: u64) -> Pair {
        let mut rng = Rng::new(seed);
        let old = Schema::random(&mut rng);
        let new = old.mutate(&mut rng);
        let rows = old.rows(&mut rng);
        Pair { old, new, rows }
    }

    /// Both as a person wants to read them.
    pub fn text(&self) -> String {
        let differ = |one: &Schema, other: &Schema| {
            let there: Vec<String> = other.pieces().into_iter().map(|piece| piece.sql).collect();
            let mark = |sql: String| if there.contains(&sql) { format!("  {sql};\n") } else { format!("* {sql};\n") };
            one.pieces().into_iter().map(|piece| mark(piece.sql)).collect::<String>()
        };
        let rows: String = self.rows.iter().map(|row| format!("  {row};\n")).collect();
        format!(
            "old (* marks what the other has not):\n{}rows:\n{rows}new:\n{}",
            differ(&self.old, &self.new),
            differ(&self.new, &self.old)
        )
    }
}
