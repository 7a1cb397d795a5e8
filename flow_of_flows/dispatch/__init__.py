"""How a parent runs its children: plan, launch, outcome, resume. Never imports dbt."""
