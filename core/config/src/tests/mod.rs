//! Tests that look at what is not public.

mod hocon_cases;
