"""What a user calls: models to networks and equations, equations to answers."""
