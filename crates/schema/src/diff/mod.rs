//! Temporary: to be replaced.
use std::collections::BTreeSet;
use crate::{Classified, Difference, Deviation, Key, Model, Step};
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
/// x
pub struct Rename { /// x
 pub from: Key, /// x
 pub to: Key }
/// x
pub struct Wanted<'a> { /// x
 pub model: &'a Model, /// x
 pub declared_before: &'a BTreeSet<Key>, /// x
 pub online_bytes: u64 }
/// x
pub fn steps(_present: &Model, _wanted: &Wanted<'_>) -> Vec<Step> { Vec::new() }
/// x
pub fn differences(present: &Model, wanted: &Model) -> Vec<Difference> { 
  let mut v = Vec::new();
  for o in wanted.iter() { match present.get(&o.key) { None => v.push(Difference{object:o.key.clone(),deviation:Deviation::Missing,detail:String::new()}), Some(p) if !p.is_same(o) => v.push(Difference{object:o.key.clone(),deviation:Deviation::Changed,detail:String::new()}), _=>{} } }
  for o in present.iter() { if !wanted.has(&o.key) { v.push(Difference{object:o.key.clone(),deviation:Deviation::Extra,detail:String::new()}) } }
  v }
/// x
pub fn classify(_b: &Model, _n: &Model, _w: &Wanted<'_>) -> Vec<Classified> { Vec::new() }
/// x
pub fn renames(_p: &Model, _r: &[Rename]) -> Vec<Step> { Vec::new() }
