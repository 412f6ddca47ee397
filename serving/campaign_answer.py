"""What a person may answer to a campaign's plan in Airflow. Imports nothing: a DAG file reads it."""

WAIT, APPROVE, REJECT = "Leave it waiting", "Approve", "Reject"
