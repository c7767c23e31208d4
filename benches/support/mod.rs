//! What every section of the benchmark needs: a broker, sizes, spreads, tables, plots and the page.

mod aims;
mod bars;
mod broker;
mod curves;
mod machine;
mod page;
mod size;
mod spread;
mod svg;

pub(crate) use aims::{Aim, Beside};
pub(crate) use bars::{Bar, bars};
pub(crate) use broker::{Broker, free_port};
pub(crate) use curves::{Axis, Curve, Panel, curves};
pub(crate) use page::Page;
pub(crate) use size::{bridge, loops_alone, quick, size};
pub(crate) use spread::{Spread, ratios};
