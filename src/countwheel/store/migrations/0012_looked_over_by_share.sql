-- Over ten million live runs autovacuum read 30,000 pages (half a second of a core) for new statistics at each 20,000
-- changes, a fifth of a percent of the table: what is called meanwhile was late for that (docs/benchmarks.md, S5).
-- A hundredth of the table more: small tables are looked over as often as before.
ALTER TABLE runs SET (autovacuum_analyze_scale_factor = 0.01);
