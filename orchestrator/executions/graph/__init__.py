"""The graph of a workflow: the containers that a run without Argo and Kubernetes is made of. Values in, values out."""
