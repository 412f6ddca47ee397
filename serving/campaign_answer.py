"""What a person may answer to a campaign's plan in Airflow. Imports nothing: a DAG file reads it."""

FOLLOW, APPROVE, REJECT = "Follow the verdict", "Approve", "Reject"
