//! The console, in a real browser: Debian's packages chromium and chromium-driver must be installed, and axe-core be there
//! (`scripts/test` sees to both).

mod browser;
mod many;
mod paint;
mod served;
mod using;
mod views;
