"""What is wrong with the nodes of a cluster, asked of each of them."""
