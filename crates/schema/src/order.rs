//! The order in which a bundle's statements can run, whatever files they stand in.

use std::collections::{BTreeSet, HashMap, HashSet};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::{Class, Facts, ObjectName};

/// Statements that need each other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} statements need each other", .0.len())]
pub struct Cycle(
    /// Their numbers, in the order given to [`Graph::new`].
    pub Vec<usize>,
);

/// Statements of which each may mean so many others that to order them takes more than it is worth: a thousand functions of one name, say,
/// and thousands of views that call them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the statements may need each other in more than {MOST_WAYS} ways")]
pub struct Tangle;

/// How often a statement may mean another one, in all. The graph takes 20 bytes for each.
const MOST_WAYS: usize = 4_000_000;

/// How strictly one statement waits for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    Must,
    /// Obeyed where it is possible.
    Should,
}

/// Statements and what waits for what.
pub struct Graph {
    edges: DiGraph<(), Wait>,
}

impl Graph {
    /// Builds the graph. `statements` come in their natural order (by kind, file and place in the file), each with the number of the
    /// file that it stands in; where nothing else decides, that order is kept.
    ///
    /// # Errors
    /// [`Tangle`].
    pub fn new(statements: &[(usize, &Facts)]) -> Result<Graph, Tangle> {
        Graph::within(statements, MOST_WAYS)
    }

    fn within(statements: &[(usize, &Facts)], most_ways: usize) -> Result<Graph, Tangle> {
        let mut edges = DiGraph::new();
        let nodes: Vec<NodeIndex> = statements.iter().map(|_| edges.add_node(())).collect();
        let mut makers: HashMap<&ObjectName, Vec<usize>> = HashMap::new();
        let mut changers: HashMap<&ObjectName, Vec<usize>> = HashMap::new();
        for (number, (_, facts)) in statements.iter().enumerate() {
            facts.provides.iter().for_each(|name| makers.entry(name).or_default().push(number));
            facts.touches.iter().for_each(|name| changers.entry(name).or_default().push(number));
        }
        let mut ways = 0;
        let mut connect = |from: usize, to: usize, wait: Wait| {
            ways += 1;
            if ways > most_ways {
                return Err(Tangle);
            }
            if let (Some(a), Some(b)) = (nodes.get(from), nodes.get(to))
                && from != to
            {
                edges.add_edge(*a, *b, wait);
            }
            Ok(())
        };
        let mut last_of_file: HashMap<usize, usize> = HashMap::new();
        for (number, (file, facts)) in statements.iter().enumerate() {
            for need in distinct(&facts.needs) {
                find(&makers, need).try_for_each(|maker| connect(maker, number, Wait::Must))?;
            }
            for wish in distinct(&facts.prefers) {
                find(&makers, wish).try_for_each(|maker| connect(maker, number, Wait::Should))?;
            }
            for table in distinct(&facts.foreign) {
                let mut waits = find(&makers, table).chain(find(&changers, table));
                waits.try_for_each(|before| connect(before, number, Wait::Should))?;
            }
            if let Some(before) = last_of_file.insert(*file, number) {
                connect(before, number, Wait::Should)?;
            }
        }
        Ok(Graph { edges })
    }

    /// Every statement once, each after what it must wait for, and after what it should wait for where that is possible.
    ///
    /// # Errors
    /// The smallest set found of statements that need each other.
    pub fn order(&self) -> Result<Vec<usize>, Cycle> {
        let count = self.edges.node_count();
        let mut must = vec![0usize; count];
        let mut should = vec![0usize; count];
        for edge in self.edges.edge_references() {
            let waits = if *edge.weight() == Wait::Must { &mut must } else { &mut should };
            if let Some(waits) = waits.get_mut(edge.target().index()) {
                *waits += 1;
            }
        }
        let mut order = Vec::with_capacity(count);
        let mut done = vec![false; count];
        // Ready: nothing it must wait for is left. The first of the pair is whether something it should wait for is left, so that
        // the least element is the best choice.
        let mut ready: BTreeSet<(bool, usize)> =
            (0..count).filter(|n| must.get(*n) == Some(&0)).map(|n| (should.get(n) != Some(&0), n)).collect();
        while let Some((_, number)) = ready.pop_first() {
            if let Some(flag) = done.get_mut(number) {
                *flag = true;
            }
            order.push(number);
            for edge in self.edges.edges(NodeIndex::new(number)) {
                let target = edge.target().index();
                if done.get(target) == Some(&true) {
                    continue;
                }
                let (Some(musts), Some(shoulds)) = (must.get_mut(target), should.get_mut(target)) else { continue };
                ready.remove(&(*shoulds != 0, target));
                let waits = if *edge.weight() == Wait::Must { &mut *musts } else { &mut *shoulds };
                *waits = waits.saturating_sub(1);
                if *musts == 0 {
                    ready.insert((*shoulds != 0, target));
                }
            }
        }
        if order.len() == count { Ok(order) } else { Err(self.cycle()) }
    }

    /// Everything that must wait, directly or not, for one of these.
    pub fn dependents(&self, of: &[usize]) -> HashSet<usize> {
        let mut found: HashSet<usize> = of.iter().copied().collect();
        let mut open: Vec<usize> = of.to_vec();
        while let Some(number) = open.pop() {
            for edge in self.edges.edges(NodeIndex::new(number)) {
                if *edge.weight() == Wait::Must && found.insert(edge.target().index()) {
                    open.push(edge.target().index());
                }
            }
        }
        found
    }

    fn cycle(&self) -> Cycle {
        let musts = self.edges.filter_map(|_, _| Some(()), |_, wait| (*wait == Wait::Must).then_some(()));
        // Not Tarjan's, which petgraph has as a recursion: as deep as the longest chain, it takes the process's stack, and with the process
        // all of the server.
        let smallest = kosaraju_scc(&musts).into_iter().filter(|members| members.len() > 1);
        let smallest = smallest.min_by_key(|members| (members.len(), members.iter().min().copied()));
        let mut members: Vec<usize> = smallest.unwrap_or_default().iter().map(|node| node.index()).collect();
        members.sort_unstable();
        Cycle(members)
    }
}

/// Names that a statement has, each once.
fn distinct(names: &[ObjectName]) -> impl Iterator<Item = &ObjectName> {
    let mut known = HashSet::new();
    names.iter().filter(move |name| known.insert(*name))
}

/// Who makes what a statement asks for. A type may be the row type of a relation.
fn find<'a>(index: &'a HashMap<&ObjectName, Vec<usize>>, name: &ObjectName) -> impl Iterator<Item = usize> + 'a {
    let direct = index.get(name);
    let row_type = (name.class == Class::Type)
        .then(|| ObjectName { class: Class::Relation, ..name.clone() })
        .and_then(|relation| index.get(&relation));
    direct.into_iter().chain(row_type).flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(name: &str) -> ObjectName {
        ObjectName::new(Class::Relation, None, name.to_owned())
    }

    fn table(name: &str, foreign: &[&str]) -> Facts {
        Facts {
            provides: vec![relation(name)],
            foreign: foreign.iter().map(|name| relation(name)).collect(),
            ..Facts::default()
        }
    }

    fn view(name: &str, needs: &[&str]) -> Facts {
        Facts {
            provides: vec![relation(name)],
            needs: needs.iter().map(|name| relation(name)).collect(),
            ..Facts::default()
        }
    }

    fn order(statements: &[Facts]) -> Result<Vec<usize>, Cycle> {
        let files: Vec<(usize, &Facts)> = statements.iter().enumerate().collect();
        Graph::new(&files).unwrap().order()
    }

    #[test]
    fn tables_come_after_the_tables_they_refer_to() {
        assert_eq!(order(&[table("a", &["b"]), table("b", &["c"]), table("c", &[])]).unwrap(), [2, 1, 0]);
    }

    #[test]
    fn a_circle_of_foreign_keys_is_no_obstacle() {
        assert_eq!(order(&[table("a", &["b"]), table("b", &["a"]), table("self", &["self"])]).unwrap(), [2, 0, 1]);
    }

    #[test]
    fn a_foreign_key_waits_for_the_constraint_added_later() {
        let alter = Facts { needs: vec![relation("z")], touches: Some(relation("z")), ..Facts::default() };
        let statements = [table("a", &["z"]), table("z", &[]), alter];
        assert_eq!(
            Graph::new(&[(0, &statements[0]), (1, &statements[1]), (1, &statements[2])]).unwrap().order().unwrap(),
            [1, 2, 0]
        );
    }

    #[test]
    fn a_circle_of_views_is_named() {
        let statements = [view("lone", &[]), view("a", &["b"]), view("b", &["c"]), view("c", &["a"])];
        assert_eq!(order(&statements).unwrap_err(), Cycle(vec![1, 2, 3]));
    }

    #[test]
    fn the_order_of_a_file_yields_to_a_need() {
        // File 0: view v1 over v2, then v0. File 1: v2 over v0.
        let (v1, v0, v2) = (view("v1", &["v2"]), view("v0", &[]), view("v2", &["v0"]));
        assert_eq!(Graph::new(&[(0, &v1), (0, &v0), (1, &v2)]).unwrap().order().unwrap(), [1, 2, 0]);
    }

    #[test]
    fn a_row_type_is_found_by_its_table() {
        let function = Facts { needs: vec![ObjectName::new(Class::Type, None, "t".to_owned())], ..Facts::default() };
        assert_eq!(order(&[function, table("t", &[])]).unwrap(), [1, 0]);
    }

    #[test]
    fn dependents_are_transitive_and_strict() {
        let statements = [table("t", &[]), view("v", &["t"]), view("w", &["v"]), table("u", &["t"])];
        let files: Vec<(usize, &Facts)> = statements.iter().enumerate().collect();
        assert_eq!(Graph::new(&files).unwrap().dependents(&[0]), HashSet::from([0, 1, 2]));
    }

    /// Each a statement of its own in a bundle that anybody may have written.
    #[test]
    fn a_circle_as_long_as_a_file_allows_is_named() {
        const LENGTH: usize = 50_000;
        let circle: Vec<Facts> =
            (0..LENGTH).map(|n| view(&format!("v{n}"), &[&format!("v{}", (n + 1) % LENGTH)])).collect();
        // In a thread with less stack than a process has.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(256 * 1024);
            let cycle = thread.spawn_scoped(scope, || order(&circle).unwrap_err()).unwrap().join().unwrap();
            assert_eq!(cycle.0.len(), LENGTH);
        });
    }

    #[test]
    fn of_several_circles_the_smallest_is_named_and_of_equals_the_first() {
        let circles = [("a", "b"), ("b", "c"), ("c", "a"), ("x", "y"), ("y", "x"), ("p", "q"), ("q", "p")];
        let statements = circles.map(|(name, need)| view(name, &[need]));
        assert_eq!(order(&statements).unwrap_err(), Cycle(vec![3, 4]));
    }

    #[test]
    fn a_name_that_means_too_many_statements_is_refused() {
        let many: Vec<Facts> = (0..20).map(|n| view(if n < 10 { "f" } else { "g" }, &["f"])).collect();
        let files: Vec<(usize, &Facts)> = many.iter().enumerate().collect();
        assert!(Graph::within(&files, 200).is_ok());
        assert!(matches!(Graph::within(&files, 199), Err(Tangle)));
    }

    #[test]
    fn natural_order_decides_otherwise() {
        let statements: Vec<Facts> = (0..50).map(|n| table(&format!("t{n}"), &[])).collect();
        assert_eq!(order(&statements).unwrap(), (0..50).collect::<Vec<_>>());
    }
}
