module example.com/sick

go 1.26
