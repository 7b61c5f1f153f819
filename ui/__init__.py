"""The pages. They draw and forward; what they show and change lives in `mre`."""
