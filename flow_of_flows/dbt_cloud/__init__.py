"""The parts of the dbt Cloud child: dbt Cloud's API v2 behind one door, and what a run there means for ours."""
