module mixture

go 1.26
